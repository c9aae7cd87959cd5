"""What config.yaml names: how requests to LiteLLM's proxy are scaled. Nothing in a request can change it."""

import ttc_litellm
import ttc_middleware as ttc

# Each user of the proxy (as its keys say, not the request) has tokens of their own, beside the limit of each request.
ttc.configure(budget_per={"user": ttc.Budget(tokens=1_000_000)})

careful = ttc_litellm.ProxyHook(ttc.SelfConsistency(5), models=["careful"], budget=ttc.Budget(tokens=50_000))
