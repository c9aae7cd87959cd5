"""What tokens cost, in exact dollars. Nothing here asks the network.

Programs have `Price` from `ttc_middleware`, and give a table of them to `ttc_middleware.configure(prices=)`.

The files, each above those that it imports:

- `_find`: which price holds: the user's, else that of a public table, else none.
- `_tables`: the public tables: genai-prices, and litellm's where the program has imported it.
- `_price`: `Price`, and what a usage costs by it.
"""
