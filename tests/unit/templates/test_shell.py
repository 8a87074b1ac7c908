"""Values of a shell command: one word each wherever they stand, and never text of the command."""

from __future__ import annotations

import subprocess

import pytest

from architect_parallel.templates.shell import LARGEST_VARIABLES_BYTES, as_script, out_of_reach

VALUE = "a  b'c\"d`e$(exit 3)\\*\n;f"
KEY = "{{ x }}"
PRINTED = {
    "printf %s {{ x }}": VALUE,
    'printf %s "{{ x }}"': VALUE,
    "printf %s '{{ x }}'": VALUE,
    "printf %s pre'a{{ x }}b'\"c\"{{ x }}": f"prea{VALUE}bc{VALUE}",
    "printf %s \\\"{{ x }} \\'{{ x }}": f"\"{VALUE}'{VALUE}",
    'printf %s "it\'s {{ x }}"': f"it's {VALUE}",
    "# don't\nprintf %s {{ x }}": VALUE,
    "true; # it's \"\nprintf %s '{{ x }}'": VALUE,
    "printf %s a#'{{ x }}'": f"a#{VALUE}",
    "printf %s ${#EMPTY}; printf %s {{ x }}": f"0{VALUE}",
    'printf %s "$(printf %s {{ x }})"': VALUE,
    "printf %s \"$(printf %s '{{ x }}')\"": VALUE,
    'printf %s "`printf %s {{ x }}`"': VALUE,
    'x={{ x }}; (printf %s "$x")': VALUE,
    "case {{ x }} in a*) printf %s {{ x }};; esac": VALUE,
    "cat <<EOF\nit's {{ x }}\nEOF\nprintf %s {{ x }}": f"it's {VALUE}\n{VALUE}",
    "cat <<-EOF\n\t{{ x }}\n\tEOF\nprintf %s {{ x }}": f"{VALUE}\n{VALUE}",
    "cat <<A; cat <<B\n'{{ x }}\nA\n\"{{ x }}\nB\nprintf %s {{ x }}": f"'{VALUE}\n\"{VALUE}\n{VALUE}",
    "cat <<'EOF'\nit's\nEOF\nprintf %s {{ x }}": f"it's\n{VALUE}",
    'printf %s "$(cat <<EOF\nit\'s {{ x }}\nEOF\n)"': f"it's {VALUE}",
    'printf %s "a << b\n{{ x }}"': f"a << b\n{VALUE}",
    "printf %s $((1<<2))\nprintf %s {{ x }}": f"4{VALUE}",
}


@pytest.mark.parametrize("command", PRINTED)
def test_a_value_arrives_as_it_is_wherever_it_stands(command: str) -> None:
    script, variables = as_script(command, {KEY: VALUE})
    assert VALUE not in script
    done = subprocess.run(["/bin/sh", "-c", script], env=variables, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (PRINTED[command], "")


def test_a_number_can_be_counted_with() -> None:
    script, variables = as_script("printf %s $(({{ x }} + (2 * {{ x }})))", {KEY: "14"})
    done = subprocess.run(["/bin/sh", "-c", script], env=variables, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("42", "")


def test_values_longer_than_an_environment_are_assigned_and_never_run() -> None:
    long = "'; touch pwned; $(touch pwned) 🎉" * 40_000
    values = {"{{ a }}": long, "{{ b }}": "short", "{{ c }}": "x" * (LARGEST_VARIABLES_BYTES - 2)}
    script, variables = as_script("printf %s {{ a }}{{ b }}{{ c }} | wc -c", values)
    assert list(variables.values()) == ["short"]
    done = subprocess.run(["/bin/sh"], input=script, env=variables, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == (str(len("".join(values.values()).encode())), "")


def test_where_no_value_can_arrive_is_known() -> None:
    command = "cat <<\"END\"\n{{ x }}\nEND\ncat <<\\E\n{{ y }}\nE\ncat <<E\n{{ z }}\nE\necho '<<E' {{ z }}"
    assert out_of_reach(command, ["{{ x }}", "{{ y }}", "{{ z }}"]) == ["{{ x }}", "{{ y }}"]
