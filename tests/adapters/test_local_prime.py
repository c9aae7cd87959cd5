"""A shared beginning of prompts that is read once for all slots of the embedded model's server."""

import os
import random
from pathlib import Path

import openai
import pytest

import ttc_local

WORDS = ["river", "stone", "bread", "seven", "lamp", "quiet", "north", "paper", "glass"]
EXAMPLES, OTHERS = (" ".join(random.Random(seed).choices(WORDS, k=80)) for seed in (0, 1))
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server():
    with ttc_local.serve(parallel=3, context=512) as server:
        yield server


@pytest.fixture
def client(server):
    with openai.OpenAI(base_url=server.base_url, api_key="none", max_retries=0) as client:
        yield client


def cached(client, server, slot, content):
    messages = [{"role": "user", "content": content}]
    options = {"max_tokens": 1, "extra_body": {"id_slot": slot}}
    reply = client.chat.completions.create(model=server.model, messages=messages, **options)
    return reply.usage.prompt_tokens_details.cached_tokens


def test_what_is_primed_is_read_by_no_slot_again_and_what_is_not_by_each(server, client):
    unprimed = [cached(client, server, slot, f"{OTHERS}\nQuestion {slot}?") for slot in range(3)]
    read = server.prime([{"role": "user", "content": EXAMPLES}])
    primed = [cached(client, server, slot, f"{EXAMPLES}\nQuestion {slot}?") for slot in range(3)]

    assert max(unprimed) < 40  # the system prompt that the model's template puts first
    assert read > 90
    assert min(primed) >= read - 12  # what its template puts after a message


def test_priming_leaves_no_file_and_its_folder_goes_with_the_server():
    with ttc_local.serve(parallel=2, context=512) as server:
        folder = Path(server._folder)
        server.prime([{"role": "user", "content": "Hello."}])
        assert list(folder.iterdir()) == []
        if os.name == "posix":
            assert folder.stat().st_mode & 0o077 == 0  # prompts pass through it
    assert not folder.exists()
    with pytest.raises(ttc_local.PrimingFailed, match=r"must answer /v1/chat/completions"):
        server.prime([{"role": "user", "content": "Hello."}])


def test_a_beginning_that_is_longer_than_the_context_is_refused_with_the_servers_words(server):
    with pytest.raises(ttc_local.PrimingFailed, match=r"with 400: .*context"):
        server.prime([{"role": "user", "content": EXAMPLES * 10}])


def test_a_web_page_or_neighbour_cannot_look_at_prompts_that_slots_hold(server, client):
    with pytest.raises(openai.APIStatusError, match="501"):
        client.get("/../slots", cast_to=object)
