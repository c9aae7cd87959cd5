"""A Pydantic AI agent whose model requests are scaled, against a counting server: answers, tools, verifiers."""

from __future__ import annotations

import asyncio  # noqa: TID251  # the framework's blocking calls look for its loop
import json
import subprocess
import sys

import pydantic_ai
import pytest
from provider import Provider, Reply
from pydantic import BaseModel
from pydantic_ai import Agent, ModelRetry, RunContext
from pydantic_ai.direct import model_request
from pydantic_ai.messages import (
    ImageUrl,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.models.test import TestModel
from pydantic_ai_agents import HAS_CAPABILITIES, VERSION, both_ways, chat, knows_its_agent, said, scaled_agent, told

import ttc_middleware as ttc
from ttc_pydantic_ai import ScaledModel, valid_output
from ttc_pydantic_ai._calls import Asked, ModelCalls, call_of

TestModel.__test__ = False


@pytest.fixture(autouse=True)
def _clean():
    yield
    ttc.uninstrument()


class Tea(BaseModel):
    cups: int
    note: str


def numbered(body, number):
    """Each request gets an answer of its own, and thinks longer for it."""
    return Reply(text=f"it is {number}", reasoning=10 * number)


def prefers(word):
    return lambda output: 1.0 if word in str(output) else 0.1


def tea(cups, note="hot"):
    return Reply(text=None, tool_calls=[("final_result", json.dumps({"cups": cups, "note": note}))])


@both_ways
@pytest.mark.asyncio
async def test_the_best_of_four_is_the_only_message(way):
    with Provider(numbered) as provider:
        agent = scaled_agent(way, chat(provider), ttc.BestOfN(4, stop="all"), verifier=prefers("2"))
        done = await agent.run("how many?")
    assert done.output == "it is 2"
    assert said(done) == [("user-prompt", "how many?"), ("text", "it is 2")]
    assert provider.billed.requests == 4


@pytest.fixture
def a_loop():
    """What a blocking run uses: it would make one, and leave it open."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


@both_ways
@pytest.mark.usefixtures("a_loop")
def test_an_agent_can_be_run_from_blocking_code(way):
    answers = iter(["one", "two", "three"])

    def answer(messages, info):
        return ModelResponse(parts=[TextPart(next(answers))])

    agent = scaled_agent(way, FunctionModel(answer), ttc.BestOfN(3, stop="all"), verifier=prefers("two"))
    assert agent.run_sync("how many?").output == "two"


@both_ways
@pytest.mark.asyncio
async def test_tools_run_once_and_only_those_of_the_winner(way):
    ran = []

    def order(cups: int) -> str:
        """Order tea."""
        ran.append(cups)
        return f"{cups} ordered"

    def script(body, number):
        if body["messages"][-1]["role"] == "tool":
            return Reply(text="done")
        return Reply(text=None, tool_calls=[("order", f'{{"cups": {2 if number else 3}}}')])

    with Provider(script) as provider:
        agent = scaled_agent(way, chat(provider), ttc.SelfConsistency(4), {"tools": [order]})
        done = await agent.run("tea, please")
    assert ran == [2]
    assert done.output == "done"
    assert [kind for kind, _ in said(done)] == ["user-prompt", "tool-call", "tool-return", "text"]


@both_ways
@pytest.mark.asyncio
async def test_a_turn_that_calls_tools_passes_verifiers_of_outputs_and_of_texts(way):
    asked = []

    def script(body, number):
        last = body["messages"][-1]["role"] == "tool"
        return Reply(text="42") if last else Reply(text=None, tool_calls=[("look", "{}")])

    def verify(output):
        asked.append(output)
        return output == "42"

    for verifier in (verify, ttc.verifiers.Exact("42")):
        with Provider(script) as provider:
            options = {"tools": [lambda: "nothing"]}
            options["tools"][0].__name__ = "look"
            agent = scaled_agent(way, chat(provider), ttc.BestOfN(2), options, verifier=verifier)
            assert (await agent.run("look it up")).output == "42"
    assert set(asked) == {"42"}


@both_ways
@pytest.mark.asyncio
async def test_a_verifier_of_samples_sees_the_tool_calls(way):
    ran = []

    def order(cups: int) -> str:
        """Order tea."""
        ran.append(cups)
        return "ordered"

    def frugal(sample: ttc.Sample) -> bool:
        assert isinstance(sample.output, ModelResponse)
        return all(json.loads(call.arguments)["cups"] < 3 for call in sample.tool_calls)

    def script(body, number):
        if body["messages"][-1]["role"] == "tool":
            return Reply(text="done")
        return Reply(text=None, tool_calls=[("order", f'{{"cups": {9 - number}}}')])

    with Provider(script) as provider:
        agent = scaled_agent(way, chat(provider), ttc.BestOfN(8, at_once=1), {"tools": [order]}, verifier=frugal)
        await agent.run("tea, please")
    assert ran == [2]


def outputs():
    """The ways in which a model can be made to give a typed output, each with the reply that does."""
    from pydantic_ai import NativeOutput, PromptedOutput, ToolOutput  # noqa: PLC0415  # together with what they mean

    def spoken(cups, note="hot"):
        return Reply(text=json.dumps({"cups": cups, "note": note}))

    return [
        pytest.param(ToolOutput(Tea), tea, id="tool"),
        pytest.param(NativeOutput(Tea), spoken, id="native"),
        pytest.param(PromptedOutput(Tea), spoken, id="prompted"),
    ]


@knows_its_agent
@both_ways
@pytest.mark.parametrize(("output_type", "reply"), outputs())
@pytest.mark.asyncio
async def test_a_verifier_gets_the_typed_output_however_it_was_asked_for(way, output_type, reply):
    seen = []

    def verify(output):
        seen.append(output)
        return output.cups == 2

    with Provider(lambda body, number: reply(4 - number)) as provider:
        options = {"output_type": output_type}
        agent = scaled_agent(way, chat(provider), ttc.BestOfN(4, at_once=1), options, verifier=verify)
        done = await agent.run("tea, please")
    assert done.output == Tea(cups=2, note="hot")
    assert seen == [Tea(cups=cups, note="hot") for cups in (4, 3, 2)]
    assert provider.billed.requests == 3


@knows_its_agent
@both_ways
@pytest.mark.asyncio
async def test_what_an_output_validator_tells_the_model_is_the_feedback(way):
    checked = []

    def script(body, number):
        return tea(9) if len(provider.bodies) == 1 else tea(2)

    with Provider(script) as provider:
        options = {"output_type": Tea, "deps_type": int}
        agent = scaled_agent(way, chat(provider), ttc.Refine(2), options, verifier=valid_output)

        @agent.output_validator
        async def frugal(ctx: RunContext[int], output: Tea) -> Tea:
            checked.append(output.cups)
            if output.cups > ctx.deps:
                raise ModelRetry(f"no more than {ctx.deps} cups")
            return output

        done = await agent.run("tea, please", deps=4)
    assert done.output.cups == 2
    assert checked == [9, 2, 2]  # each sample, and the winner once more
    _, second = provider.bodies
    assert {message["role"] for message in second["messages"]} == {"user"}
    assert "no more than 4 cups" in json.dumps(second["messages"][-1])
    assert [kind for kind, _ in said(done)] == ["user-prompt", "tool-call", "tool-return"]


@knows_its_agent
@both_ways
@pytest.mark.asyncio
async def test_output_that_does_not_parse_is_rejected_before_the_verifier_is_asked(way):
    seen = []

    def script(body, number):
        return Reply(text=None, tool_calls=[("final_result", '{"cups": "many"}')]) if not number else tea(2)

    def verify(output):
        seen.append(output)
        return True

    with Provider(script) as provider:
        options = {"output_type": Tea}
        agent = scaled_agent(way, chat(provider), ttc.BestOfN(2, at_once=1), options, verifier=verify)
        done = await agent.run("tea, please")
    assert done.output.cups == 2
    assert seen == [done.output]
    assert len(done.all_messages()) == 3


@both_ways
@pytest.mark.asyncio
async def test_where_no_sample_is_valid_the_agent_asks_again_as_it_always_does(way):
    def script(body, number):
        return tea(2) if len(body["messages"]) > 1 else Reply(text=None, tool_calls=[("final_result", '{"cups": 1}')])

    with Provider(script) as provider:
        agent = scaled_agent(way, chat(provider), ttc.SelfConsistency(3, at_once=1), {"output_type": Tea})
        done = await agent.run("tea, please")
    assert done.output.cups == 2
    assert provider.billed.requests == 4  # two invalid ones decide, then two valid ones
    assert len([m for m in done.all_messages() if isinstance(m, ModelResponse)]) == 2


@both_ways
@pytest.mark.asyncio
async def test_structured_outputs_vote_by_value_and_those_that_are_no_json_abstain(way):
    def script(body, number):
        texts = ['{"cups": 1, "note": "hot"', '{"cups":2,"note":"hot"}', '{"note": "hot",  "cups": 2}']
        return Reply(text=None, tool_calls=[("final_result", texts[number])])

    with Provider(script) as provider:
        agent = scaled_agent(way, chat(provider), ttc.SelfConsistency(3, at_once=1), {"output_type": Tea})
        done = await agent.run("tea, please")
    assert done.output == Tea(cups=2, note="hot")


@both_ways
@pytest.mark.asyncio
async def test_outputs_of_two_types_with_equal_fields_are_two_answers(way):
    class Refund(BaseModel):
        order: int

    class Cancel(BaseModel):
        order: int

    def script(body, number):
        name = "Refund" if not number else "Cancel"
        return Reply(text=None, tool_calls=[(f"final_result_{name}", '{"order": 7}')])

    with Provider(script) as provider:
        agent = scaled_agent(way, chat(provider), ttc.SelfConsistency(3, at_once=1), {"output_type": [Refund, Cancel]})
        done = await agent.run("undo it")
    assert done.output == Cancel(order=7)


@both_ways
@pytest.mark.asyncio
async def test_a_verifier_gets_dependencies_prompt_and_context_by_name(way):
    given = []

    async def verify(output, *, deps, prompt, ctx, messages, model):
        given.append((deps, prompt, ctx.deps, len(messages), model.model_name))
        return True

    with Provider() as provider:
        agent = scaled_agent(way, chat(provider), ttc.BestOfN(1), {"deps_type": str}, verifier=verify)
        await agent.run("how many?", deps="two")
    assert given == [("two", "how many?", "two", 1, "mock")]


def test_a_verifier_that_asks_for_something_else_is_refused_at_once():
    with pytest.raises(TypeError, match="asks for invoice, which the function does not have"):
        ScaledModel("test", ttc.BestOfN(2), verifier=lambda output, invoice: True)


def test_a_strategy_that_needs_a_verifier_says_so_at_once():
    with pytest.raises(TypeError, match=r"BestOfN\(2\) needs a verifier"):
        ScaledModel("test", ttc.BestOfN(2))


@knows_its_agent
@both_ways
@pytest.mark.asyncio
async def test_an_output_type_of_the_run_alone_is_a_verifier_s_failure_that_says_so(way):
    with Provider(lambda body, number: tea(2)) as provider:
        agent = scaled_agent(way, chat(provider), ttc.BestOfN(1), verifier=valid_output, on_reject="raise")
        with pytest.raises(ttc.NotAccepted, match=r"the run has an output type of its own: give it to the agent"):
            await agent.run("tea, please", output_type=Tea)


@both_ways
@pytest.mark.asyncio
async def test_a_verifier_that_breaks_is_told_apart_from_an_agent_s_no(way):
    def verify(output):
        raise ZeroDivisionError("no sums today")

    with Provider() as provider:
        agent = scaled_agent(way, chat(provider), ttc.BestOfN(1), verifier=verify, on_reject="raise")
        with pytest.raises(ttc.NotAccepted, match=r"verifier .* failed: ZeroDivisionError: no sums today"):
            await agent.run("how many?")


@both_ways
@pytest.mark.asyncio
async def test_a_tool_that_needs_approval_is_put_off_and_called_once_it_has_it(way):
    ran = []

    def script(body, number):
        if body["messages"][-1]["role"] == "tool":
            return Reply(text="done")
        return Reply(text=None, tool_calls=[("order", '{"cups": 2}')])

    with Provider(script) as provider:
        options = {"output_type": [str, pydantic_ai.DeferredToolRequests]}
        agent = scaled_agent(way, chat(provider), ttc.BestOfN(2), options, verifier=lambda output: output == "done")

        @agent.tool_plain(requires_approval=True)
        def order(cups: int) -> str:
            ran.append(cups)
            return "ordered"

        put_off = await agent.run("tea, please")
        assert ran == []
        (waiting,) = put_off.output.approvals
        approved = pydantic_ai.DeferredToolResults(approvals={waiting.tool_call_id: True})
        done = await agent.run(message_history=put_off.all_messages(), deferred_tool_results=approved)
    assert (ran, done.output) == ([2], "done")


@both_ways
@pytest.mark.asyncio
async def test_a_fallback_model_falls_back_within_each_sample(way):
    def script(body, number):
        return Reply(status=400) if body["model"] == "first" else numbered(body, number)

    with Provider(script) as provider:
        first, second = chat(provider), chat(provider)
        first._model_name = "first"
        agent = scaled_agent(way, FallbackModel(first, second), ttc.BestOfN(2, stop="all"), verifier=lambda output: 1.0)
        with ttc.tracking() as bill:
            done = await agent.run("how many?")
    assert provider.settled().requests == 4
    assert bill.total.tokens == provider.billed.tokens
    assert told(done)[1:] == (provider.billed.prompt, provider.billed.completion)


@pytest.mark.asyncio
async def test_a_scaled_model_can_be_one_that_is_fallen_back_to():
    with Provider(lambda body, number: Reply(status=400)) as broken, Provider(numbered) as provider:
        scaled = ScaledModel(chat(provider), ttc.BestOfN(3, stop="all"), verifier=prefers("1"))
        done = await Agent(FallbackModel(chat(broken), scaled)).run("how many?")
    assert done.output == "it is 1"
    assert told(done)[1:] == (provider.billed.prompt, provider.billed.completion)


@pytest.mark.asyncio
async def test_an_agent_that_exists_is_scaled_by_overriding_its_model():
    with Provider(numbered) as provider:
        agent = Agent(chat(provider))
        with agent.override(model=ScaledModel(chat(provider), ttc.BestOfN(3, stop="all"), verifier=prefers("1"))):
            assert (await agent.run("how many?")).output == "it is 1"
    assert provider.billed.requests == 3


@pytest.mark.skipif(not HAS_CAPABILITIES, reason="no capabilities")
@pytest.mark.asyncio
async def test_a_run_can_bring_the_capability_along():
    from ttc_pydantic_ai import Scale  # noqa: PLC0415  # absent with old versions

    with Provider(numbered) as provider:
        agent = Agent(chat(provider))
        scale = Scale(ttc.BestOfN(3, stop="all"), verifier=prefers("1"))
        assert (await agent.run("how many?", capabilities=[scale])).output == "it is 1"
        assert (await agent.run("how many?")).output == "it is 3"
    assert provider.billed.requests == 4


@pytest.mark.skipif(HAS_CAPABILITIES, reason="this version has capabilities")
def test_a_version_without_capabilities_names_the_way_that_it_has():
    with pytest.raises(ImportError, match=r"Scale needs pydantic-ai-slim >=1\.107; .*ScaledModel\(model, …\)"):
        from ttc_pydantic_ai import Scale  # noqa: F401, PLC0415  # must fail


@both_ways
@pytest.mark.asyncio
async def test_a_policy_around_the_agent_says_how_to_search(way):
    with Provider(numbered) as provider:
        agent = scaled_agent(way, chat(provider), None, verifier=prefers("2"))
        assert (await agent.run("how many?")).output == "it is 0"
        with ttc.policy(ttc.BestOfN(2, stop="all")):
            assert (await agent.run("how many?")).output == "it is 2"
    assert provider.billed.requests == 3


@both_ways
@pytest.mark.asyncio
async def test_outside_of_a_search_nothing_is_changed(way, monkeypatch):
    monkeypatch.setenv("TTC_DISABLED", "1")
    with Provider(numbered) as provider:
        agent = scaled_agent(way, chat(provider), ttc.BestOfN(4), verifier=prefers("2"))
        assert (await agent.run("how many?")).output == "it is 0"
    assert provider.billed.requests == 1


@pytest.mark.asyncio
async def test_without_an_agent_the_verifier_gets_the_text():
    with Provider(numbered) as provider:
        model = ScaledModel(chat(provider), ttc.BestOfN(3, at_once=1), verifier=lambda text: text == "it is 1")
        response = await model_request(model, [ModelRequest(parts=[UserPromptPart("how many?")])])
    assert response.parts[0].content == "it is 1"
    assert provider.billed.requests == 2


@both_ways
@pytest.mark.asyncio
async def test_parallel_samples_of_a_cold_model_are_warmed_up(way):
    with Provider(numbered) as provider:
        agent = scaled_agent(way, chat(provider), ttc.SelfConsistency(3), {"model_settings": {"temperature": 0}})
        await agent.run("how many?")
    assert sorted(body["temperature"] for body in provider.bodies) == [0, 0.8, 0.8]


class Once:
    """A strategy that asks for one draw."""

    def __init__(self, **asks):
        self._draw = ttc.Draw(**asks)

    def search(self, call):
        return (yield [self._draw])


@both_ways
@pytest.mark.asyncio
async def test_a_draw_is_asked_for_in_the_framework_s_settings(way):
    asks = Once(temperature=0.3, seed=7, max_tokens=77, stop=["end"], model="next", instruction="be brief")
    with Provider() as provider:
        agent = scaled_agent(way, chat(provider), asks, {"model_settings": {"temperature": 1.0, "top_p": 0.5}})
        done = await agent.run("how many?")
    (body,) = provider.bodies
    sent = {name: body.get(name) for name in ("temperature", "seed", "stop", "model", "top_p")}
    assert sent == {"temperature": 0.3, "seed": 7, "stop": ["end"], "model": "next", "top_p": 0.5}
    assert body.get("max_completion_tokens", body.get("max_tokens")) == 77
    assert "be brief" in json.dumps(body["messages"][-1])
    assert said(done) == [("user-prompt", "how many?"), ("text", "ok")]


@both_ways
@pytest.mark.parametrize(("thinking", "effort"), [(0, None), (500, "low"), (4_000, "medium"), ("high", "high")])
@pytest.mark.filterwarnings("ignore:gpt-5-mini does not take thinking=")
@pytest.mark.asyncio
async def test_thinking_is_asked_for_in_the_provider_s_words(way, thinking, effort):
    with Provider() as provider:
        # Its profile knows efforts.
        agent = scaled_agent(way, chat(provider), Once(model="gpt-5-mini"), thinking=thinking)
        await agent.run("how many?")
    (body,) = provider.bodies
    assert body.get("reasoning_effort") in ((effort,) if effort else (None, "none", "minimal"))


@both_ways
@pytest.mark.asyncio
async def test_a_model_without_a_name_to_change_says_so(way):
    agent = scaled_agent(way, FallbackModel(TestModel(), TestModel()), Once(model="other"))
    with pytest.raises(TypeError, match=r"FallbackModel has no name to change; write \"provider:name\""):
        await agent.run("how many?")


@both_ways
@pytest.mark.asyncio
async def test_a_model_that_answers_with_one_object_loses_no_sample(way):
    response = ModelResponse(parts=[TextPart("four")])
    agent = scaled_agent(way, FunctionModel(lambda messages, info: response), ttc.SelfConsistency(4, at_once=1))
    with ttc.tracking() as bill:
        done = await agent.run("two words")
    assert done.output == "four"
    assert bill.total.calls == 3


@both_ways
@pytest.mark.asyncio
async def test_the_framework_s_own_test_model_calls_tools_and_gives_output(way):
    ran = []

    def order(cups: int) -> str:
        """Order tea."""
        ran.append(cups)
        return "ordered"

    agent = scaled_agent(
        way, TestModel(), ttc.BestOfN(2), {"tools": [order], "output_type": Tea}, verifier=valid_output
    )
    done = await agent.run("tea, please")
    assert ran == [0]
    assert isinstance(done.output, Tea)


@both_ways
@pytest.mark.asyncio
async def test_mixed_answers_and_tools_are_judged_by_the_answer_and_run_nothing(way):
    """Tools beside a final answer run as the agent decides, not while samples are judged."""
    ran = []

    def order() -> str:
        """Order tea."""
        ran.append(1)
        return "ordered"

    def answer(messages, info):
        calls = [ToolCallPart("order", {}), ToolCallPart("final_result", {"cups": 2, "note": "hot"})]
        return ModelResponse(parts=calls)

    agent = scaled_agent(
        way,
        FunctionModel(answer),
        ttc.BestOfN(3, stop="all"),
        {"tools": [order], "output_type": Tea, "end_strategy": "early"},
        verifier=lambda output: True,
    )
    done = await agent.run("tea, please")
    assert done.output == Tea(cups=2, note="hot")
    assert ran == []


@knows_its_agent
@both_ways
@pytest.mark.asyncio
async def test_a_wrong_answer_beside_a_tool_call_is_told_what_is_wrong_with_the_answer(way):
    def answer(messages, info):
        calls = [ToolCallPart("final_result", {"cups": "many", "note": "hot"}), ToolCallPart("order", {})]
        return ModelResponse(parts=calls)

    options = {"tools": [lambda: "ordered"], "output_type": Tea}
    options["tools"][0].__name__ = "order"
    agent = scaled_agent(way, FunctionModel(answer), ttc.BestOfN(1), options, verifier=valid_output, on_reject="raise")
    with pytest.raises(ttc.NotAccepted, match=r"cups") as raised:
        await agent.run("tea, please")
    assert "order" not in str(raised.value)


@knows_its_agent
@both_ways
@pytest.mark.asyncio
async def test_judging_leaves_the_history_as_it_is(way):
    seen = []

    def verify(output, *, messages):
        seen.append((messages[-1].instructions, messages[-1].run_id))
        return True

    options = {"instructions": "be brief"}
    with Provider() as provider:
        agent = scaled_agent(way, chat(provider), ttc.BestOfN(2, stop="all"), options, verifier=verify)
        done = await agent.run("how many?")
    assert done.all_messages()[0].instructions == "be brief"
    assert len(set(seen)) == 1
    assert len({message.run_id for message in done.all_messages()}) == 1


WITHOUT = """
import sys
sys.modules["pydantic_ai"] = None
try:
    import ttc_pydantic_ai
except ImportError as error:
    print(error)
"""


def test_without_the_framework_the_extra_is_named():
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == (
        'ttc_pydantic_ai needs pydantic-ai-slim >=1.70,<3: pip install "ttc-middleware[pydantic-ai]"'
    )


def test_the_versions_that_are_tested_are_those_that_are_named():
    assert (1, 70) <= VERSION < (3,)


def described(provider, settings=None):
    """A request as the engine sees it."""
    messages = [
        ModelRequest(
            parts=[SystemPromptPart("be brief"), UserPromptPart(["look", ImageUrl("https://a.example/b.png")])]
        ),
        ModelResponse(parts=[ToolCallPart("order", {"cups": 2}, tool_call_id="1")]),
        ModelRequest(parts=[ToolReturnPart("order", "two cups", tool_call_id="1")]),
    ]
    asked = Asked(chat(provider), messages, settings, ModelRequestParameters())
    return ModelCalls().describe(call_of("it", asked, None))


def test_who_captures_content_gets_roles_and_no_pictures():
    with Provider() as provider:
        request = described(provider)
    assert [(each["role"], each.get("content")) for each in request.messages] == [
        ("system", "be brief"),
        ("user", ["look", {"type": "file"}]),
        ("assistant", None),
        ("tool", "two cups"),
    ]
    assert request.messages[2]["tool_calls"] == [{"id": "1", "name": "order", "arguments": '{"cups":2}'}]
    assert len(request.messages) == 4
    assert (request.provider, request.tool_results, request.port) == ("local", True, int(provider.host.split(":")[2]))


def test_a_conversation_that_the_server_keeps_is_told():
    with Provider() as provider:
        assert described(provider, {"openai_conversation_id": "conv_1"}).remembered
        assert not described(provider, {"temperature": 1.0}).remembered


@both_ways
@pytest.mark.asyncio
async def test_a_paused_answer_is_continued_as_it_is_and_not_searched_for_again(way):
    """A provider may pause an answer; the framework then asks it to go on."""
    if VERSION < (2, 20):
        pytest.skip("no paused answers in this version")
    asked, left = [], []

    class Pausing(FunctionModel):
        async def request(self, messages, settings, parameters):
            asked.append(messages[-1].kind)
            response = await super().request(messages, settings, parameters)
            if len(asked) < 3:
                response.state, response.provider_response_id = "suspended", f"job {len(asked)}"
            return response

        async def cancel_suspended_response(self, response):
            left.append(response.provider_response_id)

    answers = iter(["it ", "it will ", "never mind", "be"])
    model = Pausing(lambda messages, info: ModelResponse(parts=[TextPart(next(answers))]))
    agent = scaled_agent(way, model, ttc.BestOfN(2, stop="all"), verifier=lambda output: True)
    with ttc.tracking() as bill:
        done = await agent.run("how will it be?")
    assert asked == ["request", "request", "response"]
    assert bill.total.calls == 3
    assert "never mind" in done.output
    assert left == ["job 2"]
