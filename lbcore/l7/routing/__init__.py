"""Which pool a request goes to.

| file | its idea |
|---|---|
| match | the conditions of a route, made into functions |
| router | the one route a request takes, found without asking them all |
| split | shares by weight: a canary |
"""
