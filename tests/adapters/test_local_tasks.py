"""The demo's tasks tell right from wrong, and a broken task file is refused where it is broken."""

import json

import pytest

import ttc_local

RIGHT = {
    "digit_sum": lambda n: sum(map(int, str(n))),
    "is_palindrome": lambda text: text == text[::-1],
    "capitalize_words": lambda text: " ".join(word.capitalize() for word in text.split()),
    "is_anagram": lambda a, b: sorted(a) == sorted(b),
    "only_digits": lambda text: "".join(filter(str.isdigit, text)),
    "to_binary": lambda n: f"{n:b}",
    "count_char": lambda text, char: text.count(char),
    "average": lambda numbers: sum(numbers) / len(numbers) if numbers else 0,
    "sum_of_squares": lambda n: sum(i * i for i in range(1, n + 1)),
    "common_elements": lambda a, b: sorted(set(a) & set(b)),
    "dot_product": lambda a, b: sum(x * y for x, y in zip(a, b, strict=True)),
    "max_difference": lambda numbers: max(numbers) - min(numbers),
}

# Mistakes that the model, or anybody, makes.
WRONG = {
    "digit_sum": [
        lambda n: sum(str(n)),
        lambda n: n % 9 or 9,
        lambda n: n % 10 + n // 10,
        lambda n: sum(map(int, str(n)[:-1])),
        len,
    ],
    "is_palindrome": [
        lambda text: text[0] == text[-1],
        lambda text: len(text) > 1 and text == text[::-1],
        lambda text: text == reversed(text),
        lambda text: True,
        lambda text: False,
    ],
    "capitalize_words": [
        str.capitalize,
        str.upper,
        lambda text: [word.capitalize() for word in text.split()],
        lambda text: "".join(word.capitalize() for word in text.split()),
        lambda text: text[0].upper() + text[1:],
    ],
    "is_anagram": [
        lambda a, b: set(a) == set(b),
        lambda a, b: len(a) == len(b),
        lambda a, b: a == b,
        lambda a, b: a == b[::-1],
        lambda a, b: sum(map(ord, a)) == sum(map(ord, b)) and len(a) > 0,
    ],
    "only_digits": [
        lambda text: [char for char in text if char.isdigit()],
        lambda text: "".join(char for char in text if not char.isdigit()),
        lambda text: int("".join(filter(str.isdigit, text)) or 0),
        lambda text: str(int("".join(filter(str.isdigit, text)) or 0)),
        lambda text: text,
    ],
    "to_binary": [
        bin,
        lambda n: bin(n).lstrip("0b"),
        lambda n: f"{n:08b}",
        lambda n: int(f"{n:b}"),
        lambda n: f"{n:b}"[::-1] if n else "",
    ],
    "count_char": [
        lambda text, char: char in text,
        lambda text, char: len(text),
        lambda text, char: text.index(char),
        lambda text, char: text.count(char) or 1,
        lambda text, char: len(set(text) & {char}),
    ],
    "average": [
        lambda numbers: sum(numbers) / len(numbers),
        lambda numbers: sum(numbers) // len(numbers) if numbers else 0,
        lambda numbers: sum(numbers) / len(numbers) if numbers else None,
        lambda numbers: sorted(numbers)[len(numbers) // 2] if numbers else 0,
        sum,
    ],
    "sum_of_squares": [
        lambda n: sum(i * i for i in range(1, n)),
        lambda n: sum(range(1, n + 1)) ** 2,
        lambda n: n * n,
        lambda n: sum(i * i for i in range(1, n + 1)) or 1,
        lambda n: [i * i for i in range(1, n + 1)],
    ],
    "common_elements": [
        lambda a, b: [x for x in a if x in b],
        lambda a, b: sorted(x for x in a if x in b),
        lambda a, b: set(a) & set(b),
        lambda a, b: sorted(set(a) | set(b)),
        lambda a, b: [x for x, y in zip(a, b, strict=False) if x == y],
    ],
    "dot_product": [
        lambda a, b: [x * y for x, y in zip(a, b, strict=True)],
        lambda a, b: sum(a) * sum(b),
        lambda a, b: sum(x + y for x, y in zip(a, b, strict=True)),
        lambda a, b: a[0] * b[0],
        lambda a, b: sum(x * y for x in a for y in b),
    ],
    "max_difference": [
        lambda numbers: numbers[-1] - numbers[0],
        max,
        lambda numbers: min(numbers) - max(numbers),
        lambda numbers: max(numbers) - abs(min(numbers)),
        lambda numbers: numbers[0] - numbers[-1],
    ],
}

TASKS = {task.name: task for task in ttc_local.load_tasks()}


def passes(task, function):
    try:
        return all(function(*args) == expected for args, expected in task.tests)
    except Exception:  # noqa: BLE001  # wrong code may do anything
        return False


def test_there_are_twelve_tasks_each_with_a_few_tests_and_one_way_of_asking():
    assert TASKS.keys() == RIGHT.keys() == WRONG.keys()
    for task in TASKS.values():
        assert 4 <= len(task.tests) <= 8
        assert task.prompt.startswith(f"Write a Python function `{task.entry}(")


@pytest.mark.parametrize("name", RIGHT)
def test_the_tests_accept_right_code(name):
    assert passes(TASKS[name], RIGHT[name])


@pytest.mark.parametrize(("name", "number"), [(name, number) for name in WRONG for number in range(5)])
def test_the_tests_reject_wrong_code(name, number):
    assert not passes(TASKS[name], WRONG[name][number])


def test_a_sample_of_every_task_fits_into_eight_thousand_tokens_however_it_goes():
    assert 8_000 // (len(TASKS) * 16) >= 40


GOOD = {"name": "twice", "entry": "double", "prompt": "Write double.", "tests": [[[2], 4]]}


def write(path, *lines):
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8")
    return path


def test_a_task_file_of_ones_own_is_read(tmp_path):
    tests = [[[1, [2, 3]], None], "x = 3\nassert double(x) == 6"]
    file = write(
        tmp_path / "mine.jsonl", {**GOOD, "tests": tests, "public": [[[], "\u2028é"]]}, "", {**GOOD, "name": "b"}
    )

    first, second = ttc_local.load_tasks(file)

    assert (first.name, first.entry, first.prompt) == ("twice", "double", "Write double.")
    assert first.tests == (((1, [2, 3]), None), "x = 3\nassert double(x) == 6")
    assert first.public == (((), "\u2028é"),)
    assert second.public == ()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "Expecting property name"),
        ([1], r"a task must be a JSON object, not \[1\]"),
        ({"name": "x", "entry": "x"}, "a task must have name, entry, prompt, tests: prompt, tests is missing"),
        ({**GOOD, "name": "x", "test": []}, "a task may have .*: not test"),
        ({**GOOD, "name": " "}, "name must be a string that is not blank, not ' '"),
        ({**GOOD, "name": 3}, "name must be a string that is not blank, not 3"),
        (GOOD, "name must not be taken: 'twice' is"),
        ({**GOOD, "name": "x", "entry": "class"}, "entry must be the name of a function, not 'class'"),
        ({**GOOD, "name": "x", "entry": "os.system"}, "entry must be the name of a function, not 'os.system'"),
        ({**GOOD, "name": "x", "tests": []}, "tests must hold at least one test"),
        ({**GOOD, "name": "x", "tests": {"a": 1}}, "tests must be a list, not {'a': 1}"),
        ({**GOOD, "name": "x", "tests": [[2, 4]]}, r"each of tests must be a pair .*; not \[2, 4\]"),
        ({**GOOD, "name": "x", "tests": [[[2], 4, 5]]}, r"each of tests must be a pair .*; not \[\[2\], 4, 5\]"),
        ({**GOOD, "name": "x", "tests": ["assert doubled(2) == 4"]}, "each of tests .*; not 'assert doubled"),
        ({**GOOD, "name": "x", "tests": ["double(2)"]}, "each of tests .*; not 'double"),
        ({**GOOD, "name": "x", "tests": ["assert double(2"]}, "each of tests .*; not 'assert double"),
        ({**GOOD, "name": "x", "public": [7]}, "each of public must be a pair .*; not 7"),
    ],
)
def test_a_broken_line_is_refused_with_its_number_the_rule_and_the_value(line, message, tmp_path):
    file = write(tmp_path / "mine.jsonl", GOOD, "", line)

    with pytest.raises(ValueError, match=f"mine.jsonl:3: {message}"):
        ttc_local.load_tasks(file)


def test_a_file_without_tasks_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"mine\.jsonl: a task file must hold at least one task"):
        ttc_local.load_tasks(write(tmp_path / "mine.jsonl", ""))
