# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# book:
#   title: From sticky to stateless
#   question: Can you take the memory out of a shop's servers, step by step, until any of them will do?
#   tier: 0
#   minutes: 75
#   memory_mb: 400
#   after: [13-sticky-sessions]
# ---
