"""Which goals of LIBERO's BDDL files the scripted expert can reach, and in which order. Needs no simulator."""
import os

# Fixtures are opened and turned on before things are put on or in them, and closed after.
ORDER = {"open": 0, "turnon": 1, "on": 2, "in": 2, "close": 3}
ENCLOSED = ("microwave",)


def in_order(goals):
    """The goals, lists such as ["on", "plate_1", "main_table_stove_front_region"], in the order to reach them."""
    return sorted(goals, key=lambda goal: ORDER[goal[0]])


def refusal(goals):
    """Why the expert cannot do a task with these goals, as a sentence; None if it can."""
    for goal in goals:
        name = " ".join(goal)
        if goal[0] not in ORDER:
            return f"goal '{name}': the expert has no skill for the predicate '{goal[0]}'; it has {', '.join(ORDER)}"
        if goal[0] == "in" and goal[2].startswith(ENCLOSED):
            return f"goal '{name}': the expert cannot reach into a microwave"
        if goal[0] in ("open", "close") and goal[1].startswith(ENCLOSED):
            return f"goal '{name}': the expert has no skill for hinged doors"
    return None


def goals_of(suite, index):
    """The goals of a task, from its BDDL file."""
    from libero.libero import benchmark, get_libero_path
    from libero.libero.envs.bddl_utils import robosuite_parse_problem

    task = benchmark.get_benchmark_dict()[suite]().get_task(index)
    path = os.path.join(get_libero_path("bddl_files"), task.problem_folder, task.bddl_file)
    return robosuite_parse_problem(path)["goal_state"]
