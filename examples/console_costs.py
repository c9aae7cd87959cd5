"""Where the tokens went, as OpenTelemetry spans on the console; any collector takes the same."""

import anyio
import openai
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

import ttc_local
import ttc_middleware as ttc

# Of what the spans hold, a few attributes; without `formatter=` the console shows all of them.
SHOWN = ["ttc.sample.", "ttc.usage.", "ttc.cost.", "gen_ai.usage.", "gen_ai.evaluation.score.", "user."]


def short(span: ReadableSpan) -> str:
    attributes = (span.attributes or {}).items()
    lines = [f"    {name} = {value}" for name, value in attributes if name.startswith(tuple(SHOWN))]
    return "\n".join([span.name, *lines, ""])


async def main() -> None:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(formatter=short)))
    trace.set_tracer_provider(provider)

    server = await anyio.to_thread.run_sync(ttc_local.serve)
    with server:
        # What a token costs: your contract, in dollars per million.
        ttc.configure(prices={server.model: ttc.Price(input="0.10", output="0.40")})
        client = openai.AsyncOpenAI(base_url=server.base_url, api_key="none")

        @ttc.scale(
            ttc.BestOfN(4, stop="all"), verifier=lambda text: "blue" in text.lower(), budget=ttc.Budget(usd="0.01")
        )
        async def colour_of(thing: str) -> str:
            reply = await client.chat.completions.create(
                model=server.model,
                messages=[{"role": "user", "content": f"What colour is {thing}? One sentence."}],
                max_tokens=30,
            )
            return reply.choices[0].message.content or ""

        with ttc.tags(user="you"), ttc.tracking() as bill:
            print(await colour_of("the sky"))
        print(bill)
    provider.shutdown()


if __name__ == "__main__":
    anyio.run(main)
