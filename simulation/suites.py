"""LIBERO's suites and init states, and how the scripts' command lines name tasks of them."""

SUITES = ("libero_spatial", "libero_object", "libero_goal", "libero_10")
INIT_STATES = 50  # of every task


def indices(text):
    """The task indices of `0,3`."""
    return [int(part) for part in text.split(",")]


def check_init_states(parser, first, count):
    """Ends with a usage error unless a task has the init states `first` to `first + count - 1`."""
    if count < 1:
        parser.error("at least one init state is needed")
    if first < 0 or first + count > INIT_STATES:
        parser.error(f"init states {first} to {first + count - 1}: a task has 0 to {INIT_STATES - 1}")
