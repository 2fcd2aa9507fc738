"""What a pool is made of, one idea a file.

| file | its idea | time | sockets |
|---|---|---|---|
| pool | puts all of the following together | given | no |
| options | all that a pool is told | - | no |
| checks | what options have in common | - | no |
| backend | one server, and how an attempt at it ended | - | no |
| key | what a request is hashed by | - | no |
| sticky, sticky_cookie, sticky_table | to whom a client belongs | given | no |
| standing | who is in, and how far, out of all of the following | given | no |
| health | what a row of checks says of a backend | given | no |
| probes | what a check sends, and what answer is a good one | - | no |
| checker | carries out checks | the loop's | yes |
| outlier | who fails more than others is left out for a while | given | no |
| breaker | who fails altogether is asked by single trials | given | no |
| slow_start | who is new gets its share bit by bit | given | no |
| retry | what may be tried again, and how much of it in all | given | no |
| show | what an operator sees of a backend | given | no |
| window | how many in the last seconds | given | no |
"""
