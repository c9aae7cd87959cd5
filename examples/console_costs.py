"""Where the tokens went, as OpenTelemetry spans on the console; any collector takes the same."""

import anyio
import openai
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

import ttc_local
import ttc_middleware as ttc

SHOWN = {
    "user.id", "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "gen_ai.usage.cost",
    "gen_ai.evaluation.score.label", "ttc.sample.index", "ttc.sample.outcome",
    "ttc.usage.total_tokens", "ttc.usage.hidden.output_tokens", "ttc.cost.total", "ttc.cost.hidden",
}  # fmt: skip


def line(span: ReadableSpan) -> str:
    """A few of a span's attributes; without a `formatter` the console shows all of them as JSON."""
    said = [f"{name}={value}" for name, value in (span.attributes or {}).items() if name in SHOWN]
    return f"{span.name:26} {' '.join(said)}\n"


async def main(server: ttc_local.Server) -> None:
    # What a token costs: your contract, in dollars per million.
    ttc.configure(prices={server.model: ttc.Price(input="0.10", output="0.40")})
    client = openai.AsyncOpenAI(base_url=server.base_url, api_key="none")

    @ttc.scale(ttc.BestOfN(4, stop="all"), verifier=lambda text: "blue" in text, budget=ttc.Budget(usd="0.01"))
    async def colour_of(thing: str) -> str:
        question = {"role": "user", "content": f"What colour is {thing}? One sentence."}
        reply = await client.chat.completions.create(model=server.model, messages=[question], max_tokens=30)
        return reply.choices[0].message.content or ""

    with ttc.tags(user="ada"), ttc.tracking() as bill:
        print(await colour_of("the sky"))
    print(bill)


if __name__ == "__main__":
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(formatter=line)))
    trace.set_tracer_provider(provider)
    with ttc_local.serve() as server:
        anyio.run(main, server)
    provider.shutdown()
