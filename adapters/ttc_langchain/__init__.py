"""LangChain agents with test-time compute: `create_agent(model, tools, middleware=[ScaleModelCalls(…)])`.

Needs langchain 1.2.11 or newer: older ones cannot put what a call cost into an agent's state.
"""

try:
    from ._middleware import ScaledState, ScaleModelCalls
except ImportError as error:
    raise ImportError('ttc_langchain needs langchain >=1.2.11,<2: pip install "ttc-middleware[langchain]"') from error

__all__ = ["ScaleModelCalls", "ScaledState"]
