"""What an operator writes.

| file | its idea |
|---|---|
| options | every section and key, as structs |
| toml_struct | from TOML to structs, every complaint with its line |
| document | a whole file, checked across its sections |
| reference | the table of keys, made from the structs |
"""
