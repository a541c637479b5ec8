"""Plugins by themselves: the native host's weights, bit for bit, and what is said of wrong input."""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import craft
from craft import locations, plugins, runtime

CRAFT = locations.runtime_library().parent / "craft"


def combination_plugins() -> list[str]:
    """Those that turn Gram matrices, losses and multipliers into weights."""
    found = []
    for name in plugins.list_plugins():
        session = runtime.Session(name)
        plan = session.describe()["plan"]["plugins"][0]
        hooks = {h["point"]: h for h in plan["hooks"]}
        combine = hooks.get("gradient_combine")
        own = {"gram_cross", "grads", "drift_dot", "drift2", "parameters", "initial"}
        if combine and "weights" in combine["provides"] and not own & set(combine["reads"]) and "pre_backward" not in hooks:
            found.append(name)
    return found


COMBINATION_PLUGINS = combination_plugins()


def matrices(m: int, k: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((k, m, 4))
    return rows @ rows.transpose(0, 2, 1)


def test_there_are_all_combination_plugins():
    assert len(COMBINATION_PLUGINS) >= 26, COMBINATION_PLUGINS
    assert {"UPGrad", "PCGrad", "CRaFTProjection", "NashMTL", "ClipGradNorm"} <= set(COMBINATION_PLUGINS)


@pytest.mark.skipif(not CRAFT.exists(), reason="the craft command is not built")
def test_weights_are_the_native_hosts_bits():
    """Three steps of three blocks; `craft plugins call` prints doubles in full."""

    def compare(name: str) -> str | None:
        grams = [matrices(2, 3, seed) for seed in range(3)]
        losses = [[0.9, 0.5], [0.8, 0.6], [0.85, 0.3]]
        plugin = plugins.load(name)
        objectives = plugin._names(2)
        points = {h["point"] for h in runtime.Session(name, objectives).describe()["plan"]["plugins"][0]["hooks"]}
        if "post_step" in points:  # `call` runs one hook: what the other changes is known to it before the first step only
            grams, losses = grams[:1], losses[:1]
        session = plugin._open(3, 2, None)
        mine, multipliers = [], []
        for g, l in zip(grams, losses):
            multipliers.append(list(session.multipliers().values()))
            mine.append(plugin.weights(g, l))
        reads = set()
        for hook in runtime.Session(name, objectives).describe()["plan"]["plugins"][0]["hooks"]:
            if hook["point"] == "gradient_combine":
                reads = set(hook["reads"])
        calls = []
        for g, l, start in zip(grams, losses, multipliers):
            values = {"gram": g.tolist(), "losses": l, "weights": [start] * 3, "objectives": 2, "rows": [0, 1]}
            values |= {f"loss.{o}": x for o, x in zip(objectives, l)}
            values |= {f"index.{o}": i for i, o in enumerate(objectives)} | {f"lambda.{o}": x for o, x in zip(objectives, start)}
            values |= {f"gradient_norm.{o}": float(np.sqrt(g[:, i, i].sum())) for i, o in enumerate(objectives)}
            values |= {"step": len(calls), "seed": 0, "numel": [1, 1, 1], "lr": 0.0}
            calls.append({n: v for n, v in values.items() if n in reads})
        result = subprocess.run(
            [CRAFT, "plugins", "call", name, "gradient_combine", "--json", "-"],
            input=json.dumps(calls), capture_output=True, text=True,
        )
        if result.returncode:
            return f"{name}: {result.stderr}"
        theirs = [np.array(step["weights"]) for step in json.loads(result.stdout)]
        same = all(a.tobytes() == b.tobytes() for a, b in zip(mine, theirs, strict=True))
        return None if same else f"{name}: {mine} is not {theirs}"

    with ThreadPoolExecutor(2) as pool:
        problems = [p for p in pool.map(compare, COMBINATION_PLUGINS) if p]
    assert not problems, "\n".join(problems)


def test_pcgrad_by_hand():
    # Opposed halves: each loses its projection on the other.
    assert plugins.load("PCGrad").weights(np.array([[1.0, -0.5], [-0.5, 1.0]])).tolist() == [1.5, 1.5]


def test_state_goes_on_from_call_to_call_until_reset():
    rule = plugins.load("DWA:interval=1")
    gram = np.eye(2)
    steps = [rule.weights(gram, l).tolist() for l in ([1.0, 1.0], [1.0, 0.5], [1.0, 0.25])]
    assert steps[0] == [1.0, 1.0] and steps[2] != steps[0]
    rule.reset()
    assert rule.weights(gram, [1.0, 1.0]).tolist() == steps[0]


def test_settings_and_files_are_told():
    rule = plugins.load("CRaFTProjection:scope=layer")
    assert rule.settings[0]["scope"] == "layer" and len(rule.sha256[0]) == 64
    assert plugins.list_plugins()["UPGrad"].name == "libUPGrad.so"


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: plugins.load("UPGrd"), "did you mean 'UPGrad'"),
        (lambda: plugins.load("PCGrad:colour=red"), "colour"),
        (lambda: plugins.load("PCGrad", objectives=["a", "a"]), "given twice"),
        (lambda: plugins.load("PCGrad").weights(np.eye(3)[:2]), "expected [m, m]"),
        (lambda: plugins.load("PCGrad").weights(np.array([[1.0, np.nan], [np.nan, 1.0]])), "not finite"),
        (lambda: plugins.load("PCGrad").weights(np.eye(2), [1.0]), "1 losses for 2 gradients"),
        (lambda: plugins.load("PCGrad").weights(np.eye(2), [1.0, np.inf]), "inf"),
        (lambda: plugins.load("PCGrad", objectives=["a"]).weights(np.eye(2)), "of 2 gradients"),
        (lambda: runtime.Session("PCGrad").set("colour", 1.0), "no name 'colour'"),
        (lambda: runtime.Session("PCGrad").begin(0, 0.1), "nothing is planned yet"),
    ],
)
def test_wrong_input_gets_a_sentence(make, words):
    with pytest.raises(craft.CraftError) as error:
        make()
    assert words in str(error.value)


def test_a_failed_call_leaves_the_plugin_usable():
    rule = plugins.load("PCGrad")
    with pytest.raises(craft.CraftError):
        rule.weights(np.full((2, 2), np.nan))
    assert rule.weights(np.eye(2)).tolist() == [1.0, 1.0]
    with pytest.raises(craft.CraftError, match="reset"):
        rule.weights(np.eye(3))


def test_the_session_ends_a_run():
    session = runtime.Session("EarlyStop:metric=accuracy:floor=0.5:patience=0", ["action"])
    session.blocks("tensor", [3])
    session.plan()
    assert session.evaluate(0, {"accuracy": 0.75}) == {"accuracy_best": 0.75} and session.stop() is None
    session.evaluate(4, {"accuracy": 0.25})
    assert session.stop() == "plugin EarlyStop ended the run at its evaluate hook, step 4 (stop = 1.0)"


def test_a_crash_names_the_plugin(tmp_path):
    """The process ends; its last words are the runtime's."""
    include = next(p for p in map(lambda f: f / "Sources/PluginAPI/include", locations.Path(__file__).parents) if p.exists())
    (tmp_path / "Bad.c").write_text(
        """
        #include <craft_plugin.h>
        #define IN(X) X(f64_array, weights, "weights", "[k,m]")
        CRAFT_HOOK(rule, IN, CRAFT_NONE) { *(volatile int *)8 = 1; return weights ? CRAFT_OK : CRAFT_FAILED; }
        static craft_hook hooks[] = {CRAFT_HOOK_ENTRY("gradient_combine", rule)};
        static const craft_plugin plugin = {CRAFT_PLUGIN_HEADER(0), "org.example.bad", "1.0.0", "Bad.",
            CRAFT_NO_TABLE(craft_parameter), CRAFT_TABLE(hooks), NULL, NULL, NULL, NULL, NULL, NULL};
        CRAFT_PLUGIN_ENTRY(plugin, hooks)
        """
    )
    library = tmp_path / "libBad.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-I", include, tmp_path / "Bad.c", "-o", library], check=True)
    code = f"import numpy, craft.plugins as p; p.load({str(library)!r}).weights(numpy.eye(2), step=7)"
    result = subprocess.run([__import__("sys").executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == -11
    assert "plugin Bad, gradient_combine hook, step 7: crashed with SIGSEGV" in result.stderr
