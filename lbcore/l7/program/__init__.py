"""The proxy as a program.

| file | its idea |
|---|---|
| command | `lbcore proxy CONFIG.toml`, its options and signals |
| assemble | from a configuration to pools, filters and router |
| service | a configuration in force: started, exchanged under way, ended |
| admin | what an operator may see and change while it runs |
"""
