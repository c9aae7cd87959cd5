"""Answers whose bad steps are not paid for to the end: early rejection, repair and more, on the embedded model."""

import openai

import ttc_local
import ttc_middleware as ttc
import ttc_openai

SHOTS = {
    "Add 2 5 1": "2+5=7\n7+1=8",
    "Add 4 4 3": "4+4=8\n8+3=11",
    "Add 1 6 2": "1+6=7\n7+2=9",
    "Add 5 2 6": "5+2=7\n7+6=13",
}
QUESTION, LINES = "Add 3 4 2", ["3+4=7", "7+2=9"]
STEPS = ttc.Steps("\n", max_tokens=12)


def right(sample: ttc.Sample[object]) -> float:
    """The share of the lines so far that are right: what a process reward model would have to guess."""
    lines = (sample.text or "").strip().split("\n")
    return sum(line == wanted for line, wanted in zip(lines, LINES, strict=False)) / len(lines)


def whole(sample: ttc.Sample[object]) -> ttc.Verdict:
    """Whether an answer is right, and where its first bad line begins."""
    lines = (sample.text or "").strip().split("\n")
    bad = next((k for k, line in enumerate(lines) if k >= len(LINES) or line != LINES[k]), len(lines))
    begins = len("\n".join([*lines[:bad], ""])) if bad < len(lines) else None
    return ttc.Verdict(bad / max(len(lines), len(LINES)), accepted=lines == LINES, first_bad=begins)


def main(server: ttc_local.Server) -> None:
    client = openai.OpenAI(base_url=server.base_url, api_key="none")
    messages: list[dict[str, str]] = []
    for question, answer in SHOTS.items():
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    messages.append({"role": "user", "content": QUESTION})
    strategies = [
        ttc.EarlyReject(4, below=0.6, after_step=1, steps=STEPS, value=right),
        ttc.SpeculativeRejection(8, length=12, value=right),
        ttc.Repair(4),
        ttc.Repair(4, below=0.9, steps=STEPS, value=right),
        # One model is served here, under any name, so it takes over from itself; in earnest these are two.
        ttc.DraftSteps("draft", server.model, below=0.9, steps=STEPS, value=right),
    ]
    for strategy in strategies:
        scaled = ttc_openai.wrap(client, strategy, verifier=whole)
        with ttc.tracking() as bill:
            reply = scaled.chat.completions.create(
                model=server.model, messages=messages, max_tokens=24, temperature=0.8
            )
        print(f"{strategy!r}: {' | '.join((reply.choices[0].message.content or '').split(chr(10)))}")
        print(f"    {bill.bill}")


if __name__ == "__main__":
    with ttc_local.serve() as server:
        main(server)
