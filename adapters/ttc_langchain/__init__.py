"""LangChain with test-time compute: agents, chat models, nodes of graphs.

    create_agent(model, tools, middleware=[ScaleModelCalls(strategy, …)])     each model call of an agent
    prompt | scale_model(chat_model, strategy, …) | parser                    a chat model, wherever it is used
    graph.add_node("plan", scale_node(plan, strategy, …))                     a whole node, or a chain
    chain.invoke(question, {"callbacks": [ObserveModelCalls()]})              nothing scaled, only counted

Needs langchain 1.2.11 or newer: older ones cannot put what a call cost into an agent's state.
"""

try:
    from ._chat import scale_model
    from ._middleware import ScaleModelCalls
    from ._node import scale_node
    from ._observer import ObserveModelCalls
    from ._state import ScaledState
    from ._votes import tool_calls
except ImportError as error:
    raise ImportError('ttc_langchain needs langchain >=1.2.11,<2: pip install "ttc-middleware[langchain]"') from error

__all__ = ["ObserveModelCalls", "ScaleModelCalls", "ScaledState", "scale_model", "scale_node", "tool_calls"]
