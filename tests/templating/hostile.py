"""Values that try to be something else in one format or another."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

VALUES = (
    "",
    "plain",
    "two words",
    " space around ",
    "tab\there",
    "line\nbreak",
    "line\r\nbreak",
    "\nPARAMETER num_gpu 0\n",
    'x"\nPARAMETER num_gpu 0\nSYSTEM "y',
    'x"""\nPARAMETER num_gpu 0\nSYSTEM """y',
    'say "hi"',
    '"',
    '""',
    '"""',
    '"quoted"',
    "it's",
    "'quoted'",
    """both "kinds" of 'quotes'""",
    'a"\n',
    "100%",
    "%h %i %% %n",
    "%(here)s",
    "%(ENV_HOME)s %(x",
    "$HOME ${HOME} $$ $(id) `id`",
    "{{ secret }} {% raw %} {# no #}",
    "-leading-dash",
    "--option=value",
    "back\\slash",
    "trailing\\",
    "\\n \\x41 \\u0041",
    "# comment",
    "a # comment ; too",
    "; rm -rf",
    ";",
    "a=b,c=d",
    "key: value",
    "- item",
    "[section]",
    "!tag &anchor *alias",
    "null",
    "no",
    "1e3",
    "0o17",
    "Grüße, 世界 🙂",
    "a\u00a0b",
    "zero\u200bwidth",
    "next\u0085line\u2028separator",
    "\ufeffbom",
    "nul\0byte",
    "bell\x07",
    "delete\x7f",
    "nonchar\ufdd0",
    "\ud800",
)

_NASTY = st.sampled_from("\"'\\%$#;{}()[]=,:`<>!&*|~- \t\n\rheresabx0")
TEXTS = st.text(alphabet=st.one_of(_NASTY, st.characters()), max_size=20)

# The same examples each time (and so no database of past ones left on the disk).
BOUND = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
