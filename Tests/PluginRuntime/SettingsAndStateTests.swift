import Foundation
import PluginRuntime
import Testing

/// A plugin with every type of setting and with state, in C.
@Suite struct SettingsAndStateTests {
    let plugins: CPlugin

    private static let counter = """
        #include <craft_plugin.h>
        #include <math.h>
        #include <stdlib.h>
        typedef struct { double rate, sum; int64_t start, steps; } counter;
        static const char *const modes[] = {"fast", "slow", NULL};
        static const craft_parameter parameters[] = {
            {"rate", CRAFT_F64, 0, "0.5", 0, 10, NULL, "Per step."},
            {"start", CRAFT_I64, 0, "3", -INFINITY, INFINITY, NULL, "First."},
            {"loud", CRAFT_BOOL, 0, "no", 0, 0, NULL, "Whether."},
            {"mode", CRAFT_STRING, 0, "fast", 0, 0, modes, "Which."},
            {"label", CRAFT_STRING, 0, "sum", 0, 0, NULL, "Name."},
        };
        static int32_t create(const craft_host *host, const craft_settings *settings, void **self, craft_error *error) {
            counter *c;
            if (host->abi_major != CRAFT_ABI_MAJOR || settings->count != 5) return craft_fail(error, "bad call");
            if (craft_setting_at(settings, 0)->f64 == 0 && craft_setting_at(settings, 3)->text[0] == 's')
                return craft_fail(error, "%s: slow needs a rate above 0", settings->instance);
            c = calloc(1, sizeof *c);
            if (!c) return craft_fail(error, "no memory");
            c->rate = craft_setting_at(settings, 0)->f64;
            c->start = craft_setting_at(settings, 1)->i64;
            *self = c;
            return CRAFT_OK;
        }
        static int32_t reset(void *self, craft_error *error) {
            counter *c = self; (void)error; c->sum = 0; c->steps = 0; return CRAFT_OK;
        }
        static int32_t save(void *self, const craft_output *out, craft_error *error) {
            counter *c = self;
            if (out->write(out->context, &c->sum, 8) != 8 || out->write(out->context, &c->steps, 8) != 8)
                return craft_fail(error, "cannot write");
            return CRAFT_OK;
        }
        static int32_t load(void *self, const craft_input *in, uint32_t version, craft_error *error) {
            counter *c = self;
            char bytes[16];
            int64_t have = 0, got;
            if (version != 2) return craft_fail(error, "version %u", version);
            while (have < 16) {
                got = in->read(in->context, bytes + have, (uint64_t)(16 - have));
                if (got <= 0) return craft_fail(error, "the state ends after %d bytes", (int)have);
                have += got;
            }
            c->sum = *(double *)(void *)bytes;
            c->steps = *(int64_t *)(void *)(bytes + 8);
            return CRAFT_OK;
        }
        #define IN(X) X(f64, x, "x", "")
        #define OUT(X) X(f64, total, "out.{label}", "") X(f64, where, "out.{instance}.steps", "")
        CRAFT_HOOK(count, IN, OUT) {
            counter *c = self;
            c->sum = c->sum * 0.9 + c->rate * x;
            c->steps++;
            *total = c->sum;
            *where = (double)(c->start + c->steps);
            return CRAFT_OK;
        }
        static craft_hook hooks[] = {CRAFT_HOOK_ENTRY("post_step", count)};
        static const craft_plugin plugin = {CRAFT_PLUGIN_HEADER(2), PLUGIN_ID, "1.0.0", "Counts.",
            CRAFT_TABLE(parameters), CRAFT_TABLE(hooks), create, free, save, load, reset, NULL};
        CRAFT_PLUGIN_ENTRY(plugin, hooks)
        """

    init() throws {
        plugins = try CPlugin()
        try plugins.build("Counter", "#define PLUGIN_ID \"org.example.counter\"\n\(Self.counter)")
    }

    @Test func defaultsAreResolvedAndNamesFilled() throws {
        let composition = try plugins.compose("Counter,second=Counter:label=other:loud=TRUE:start=-4:rate=1e-1")
        #expect(
            composition.plugins[0].settings
                == ["rate": "0.5", "start": "3", "loud": "false", "mode": "fast", "label": "sum"])
        #expect(
            composition.plugins[1].settings
                == ["rate": "0.1", "start": "-4", "loud": "true", "mode": "fast", "label": "other"])
        let values = ValueStore()
        values.set("x", 2.0)
        try composition.run(.postStep, values: values, step: 0)
        #expect(values.double("out.sum") == 1)
        #expect(values.double("out.other") == 0.2)
        #expect(values.double("out.Counter.steps") == 4)
        #expect(values.double("out.second.steps") == -3)
        #expect(composition.provided(matching: "out.{name}.steps", capture: "name") == ["Counter", "second"])
    }

    @Test(arguments: [
        ("rates=1", CompositionProblem.Kind.unknownSetting, "did you mean 'rate'?"),
        ("rate=fast", .invalidSetting, "expects a number, got 'fast'"),
        ("rate=nan", .invalidSetting, "expects a number, got 'nan'"),
        ("rate=11", .invalidSetting, "allowed: 0.0 to 10.0; default: 0.5"),
        ("rate=-1", .invalidSetting, "-1 is out of range"),
        ("start=1.5", .invalidSetting, "expects an integer, got '1.5'"),
        ("start=99999999999999999999", .invalidSetting, "expects an integer"),
        ("loud=perhaps", .invalidSetting, "expects true or false"),
        ("mode=slw", .invalidSetting, "did you mean 'slow'? choices: fast, slow"),
        ("label=a b", .unknownName, "the name becomes 'out.a b'"),
        ("mode=slow:rate=0", .refused, "the plugin refuses these settings: Counter: slow needs a rate above 0"),
    ])
    func badSettings(settings: String, kind: CompositionProblem.Kind, words: String) throws {
        let problems = try plugins.problems("Counter:\(settings)")
        #expect(problems.map(\.kind) == [kind])
        #expect("\(problems[0].problem); \(problems[0].hint)".contains(words), "\(problems)")
    }

    private func run(_ composition: Composition, _ steps: Range<Int>) throws -> [UInt64?] {
        let values = ValueStore()
        return try steps.map { step in
            values.set("x", 1 / Double(step + 1))
            try composition.run(.postStep, values: values, step: step)
            return values.double("out.sum")?.bitPattern
        }
    }

    /// 2k steps equal k steps, save, load into a new instance, k steps: bit for bit.
    @Test func resumeIsExact() throws {
        let straight = try run(plugins.compose("Counter"), 0..<10)
        let first = try plugins.compose("Counter")
        let before = try run(first, 0..<5)
        let state = try first.saveState()
        let second = try plugins.compose("Counter")
        try second.loadState(state)
        #expect(try second.saveState() == state)
        #expect(before + (try run(second, 5..<10)) == straight)

        try second.reset()
        #expect(try run(second, 0..<10) == straight)
    }

    @Test func damagedStatesAreRefused() throws {
        let composition = try plugins.compose("Counter")
        _ = try run(composition, 0..<3)
        let good = try composition.saveState()
        let bytes = try #require(good["Counter"])
        func refusal(_ states: [String: Data]) throws -> PluginStateError {
            try #require(throws: PluginStateError.self) { try composition.loadState(states) }
        }
        for count in 0..<bytes.count {
            #expect(try !refusal(["Counter": bytes.prefix(count)]).message.isEmpty)
        }
        #expect(try refusal(["Counter": bytes.prefix(bytes.count - 3)]).message == "the state ends after 13 bytes")
        #expect(try refusal(["Counter": bytes + [0]]).message.contains("longer than what the plugin reads"))
        var newer = bytes
        newer[8] = 3
        #expect(try refusal(["Counter": newer]).message.contains("version 3, this plugin reads up to 2"))
        var older = bytes
        older[8] = 1
        #expect(try refusal(["Counter": older]).message == "version 1")
        #expect(try refusal([:]).message == "the checkpoint has no state of it")
        #expect(try refusal(good.merging(["Gone": bytes]) { first, _ in first }).plugin == "Gone")
        var generator = SystemRandomNumberGenerator()
        for count in [0, 1, 16, 40, 1 << 20] {
            let random = Data((0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) })
            #expect(throws: PluginStateError.self) { try composition.loadState(["Counter": random]) }
        }
        // A refused state leaves the instance as it was.
        #expect(try composition.saveState() == good)

        try plugins.build("Other", "#define PLUGIN_ID \"org.example.other\"\n\(Self.counter)")
        let other = try plugins.compose("Counter=Other")
        let error = try #require(throws: PluginStateError.self) { try other.loadState(good) }
        #expect(error.message.contains("the saved state is of plugin 'org.example.counter'"))
    }

    @Test func instancesOfOnePluginAreIndependent() throws {
        let composition = try plugins.compose("Counter,second=Counter:label=other")
        let values = ValueStore()
        values.set("x", 1.0)
        try composition.run(.postStep, values: values, step: 0)
        let alone = try plugins.compose("Counter")
        try alone.run(.postStep, values: values, step: 0)
        let states = try composition.saveState()
        #expect(try alone.saveState()["Counter"] == states["Counter"])
    }
}
