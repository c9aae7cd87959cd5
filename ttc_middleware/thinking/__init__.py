"""How much a model may think, and how to tell it so. Pure, and below `_types`: nothing here knows of draws.

Programs have `Thinking`, `EffortQuantiles` and `extract_thinking` from `ttc_middleware`, adapters the rest from
`ttc_middleware.seam`.

The files, each above those that it imports:

- `_dials`: how much to think, in the words of each API.
- `_families`: what each family of models can be told, by the model's name.
- `_scratchpad`: telling thoughts from answers, and asking for them in words.
- `_efforts`: how many tokens an effort comes to, learnt from the last calls.
- `_amount`: `Thinking`: one way to say how much, whatever the provider calls it.
"""
