import Foundation
import PluginRuntime
import TestSupport
import Testing

/// Text settings, state of every kind and optional results, the same in every language.
@Suite struct SDKStateTests {
    let plugins: CPlugin

    init() throws { plugins = try CPlugin() }

    private func composition(_ language: String) throws -> Composition {
        let name = "Memory\(language)"
        switch language {
        case "c": try plugins.build(name, Self.c)
        case "cpp": try SDKLanguage.cpp.build(name, Self.cpp, in: plugins)
        case "rust": try SDKLanguage.rust.build(name, Self.rust, in: plugins)
        // Once: a file that changed is not opened again.
        default: if !FileManager.default.fileExists(atPath: plugins.path(name)) { try buildSwift(name) }
        }
        return try plugins.compose("memory=\(name):label=grün")
    }

    /// The same numbers, the same bytes: a state that one wrote another reads, in pieces and damaged too.
    @Test func statesAreTheSameInEveryLanguage() throws {
        let languages = ["c", "cpp", "rust", "swift"]
        var states: [[String: Data]] = []
        for language in languages {
            let composition = try composition(language)
            for (step, x) in [0.5, -1.25, 3].enumerated() {
                let values = ValueStore()
                values.set("x", x)
                try composition.run(.postStep, values: values, step: step)
                // Left out in odd calls; both are given as 0 or as a number else.
                #expect(values.double("out.some") == (step == 1 ? nil : x), "\(language)")
                #expect(values.integer("count.some") == (step == 1 ? nil : 0), "\(language)")
                #expect(values.double("out.sum") == [0.5, -0.75, 2.25][step], "\(language)")
            }
            states.append(try composition.saveState())
        }
        for (language, state) in zip(languages, states) { #expect(state == states[0], "\(language)") }
        let state = try #require(states[0]["memory"])
        for language in languages {
            let composition = try composition(language)
            let empty = try composition.saveState()
            for damaged in [state.dropLast(1), state.dropLast(9)] {
                #expect(throws: PluginStateError.self, "\(language)") { try composition.loadState(["memory": damaged]) }
                #expect(try composition.saveState() == empty, "\(language)")
            }
            try composition.loadState(["memory": state])
            #expect(try composition.saveState() == ["memory": state], "\(language)")
            try composition.reset()
            #expect(try composition.saveState() == empty, "\(language)")
        }
    }

    /// Compiled against the kit of the build folder, as a package would.
    private func buildSwift(_ name: String) throws {
        let file = plugins.folder.path("\(name).swift")
        try Data(Self.swift.utf8).write(to: URL(fileURLWithPath: file))
        let sources = BuildFolder.repository.appendingPathComponent("Sources/PluginKit").path
        let objects = try FileManager.default.contentsOfDirectory(atPath: sources).map {
            BuildFolder.url.appendingPathComponent("PluginKit.build/\($0).o").path
        }
        let result = try Command.run(
            [
                "swiftc", "-emit-library", "-parse-as-library", "-O", "-swift-version", "6", "-module-name", name, "-I",
                BuildFolder.url.appendingPathComponent("Modules").path, "-Xcc",
                "-fmodule-map-file=\(CPlugin.include)/module.modulemap", "-I", CPlugin.include, file,
            ] + objects + ["-o", plugins.path(name)])
        try #require(result.status == 0, "\(result.output)")
    }

    private static let c = #"""
        #include <craft_plugin.h>
        #include <stdlib.h>
        typedef struct { double sum; float *history; int64_t count, calls[2]; char label[32]; } memory;
        static const craft_parameter parameters[] = {
            {"label", CRAFT_STRING, 0, "none", 0, 0, NULL, "A text."}};
        static int32_t create(CRAFT_UNUSED const craft_host *host, const craft_settings *settings, void **self, craft_error *error) {
            memory *m = calloc(1, sizeof *m);
            if (!m) return craft_fail(error, "there is no memory for an instance");
            snprintf(m->label, sizeof m->label, "%s", craft_setting_at(settings, 0)->text);
            return *self = m, CRAFT_OK;
        }
        static void destroy(void *self) { free(((memory *)self)->history); free(self); }
        #define IN(X) X(f64, x, "x", "")
        #define OUT(X) X(f64, sum, "out.sum", "") X(optional_f64, some, "out.some", "") X(optional_i64, count, "count.some", "")
        CRAFT_HOOK(note, IN, OUT) {
            memory *m = self;
            float *history = realloc(m->history, (size_t)(m->count + 1) * sizeof *history);
            if (!history) return craft_fail(error, "there is no memory for the history");
            m->history = history;
            history[m->count] = (float)x;
            *sum = m->sum += x;
            if (m->count % 2 == 0) { *some = x; *count = 0; }
            m->calls[m->count++ % 2]++;
            return CRAFT_OK;
        }
        static int32_t save(void *self, const craft_output *output, craft_error *error) {
            const memory *m = self;
            return craft_save_f64(output, m->sum, error) || craft_save_f32s(output, m->history, m->count, error)
                || craft_save_i64s(output, m->calls, 2, error) || craft_save_f64s(output, &m->sum, 1, error)
                || craft_save_text(output, m->label, error);
        }
        static int32_t load(void *self, const craft_input *input, CRAFT_UNUSED uint32_t version, craft_error *error) {
            memory *m = self, read = {0};
            int64_t calls, sums, length;
            int32_t failed = craft_load_f64(input, &read.sum, error) || craft_load_count(input, 1 << 24, &read.count, error);
            if (!failed) read.history = malloc((size_t)read.count * sizeof *read.history + 1);
            failed = failed || !read.history
                || craft_load_bytes(input, read.history, (uint64_t)read.count * sizeof *read.history, error)
                || craft_load_count(input, 2, &calls, error) || craft_load_bytes(input, read.calls, (uint64_t)calls * 8, error)
                || craft_load_count(input, 1, &sums, error) || craft_load_bytes(input, &read.sum, (uint64_t)sums * 8, error)
                || craft_load_count(input, sizeof read.label - 1, &length, error)
                || craft_load_bytes(input, read.label, (uint64_t)length, error);
            free(failed ? read.history : m->history);
            if (!failed) *m = read;
            return failed;
        }
        static int32_t reset(void *self, CRAFT_UNUSED craft_error *error) {
            memory *m = self;
            m->sum = 0; m->count = m->calls[0] = m->calls[1] = 0;
            return CRAFT_OK;
        }
        static craft_hook hooks[] = {CRAFT_HOOK_ENTRY("post_step", note)};
        static const craft_plugin plugin = {CRAFT_PLUGIN_HEADER(1), "org.example.memory", "1.0.0", "A test.",
            CRAFT_TABLE(parameters), CRAFT_TABLE(hooks), create, destroy, save, load, reset, NULL};
        CRAFT_PLUGIN_ENTRY(plugin, hooks)
        """#

    private static let cpp = #"""
        #include <craft_plugin.hpp>
        struct Memory {
            static constexpr craft::description about{"org.example.memory", "1.0.0", "A test."};
            static constexpr craft::parameter<craft::text> label{"label", "none", "A text."};
            static constexpr auto parameters = craft::list(label);
            static constexpr std::uint32_t state_version = 1;

            double sum = 0;
            std::vector<float> history;
            std::vector<std::int64_t> calls{0, 0};
            std::string name;
            explicit Memory(const craft::settings &settings) : name(settings[label]) {}
            void note(double x, double &total, std::optional<double> &some, std::optional<std::int64_t> &count) {
                total = sum += x;
                if (history.size() % 2 == 0) { some = x; count = 0; }
                calls[history.size() % 2]++;
                history.push_back(static_cast<float>(x));
            }
            void save(craft::writer &to) const {
                to.f64(sum); to.f32s(history); to.i64s(calls); to.f64s({&sum, 1}); to.text(name);
            }
            void load(craft::reader &from, std::uint32_t) {
                sum = from.f64(); history = from.f32s(); calls = from.i64s(2); sum = from.f64s(1).at(0); name = from.text();
            }
            void reset() { sum = 0; history.clear(); calls = {0, 0}; }
        };
        CRAFT_PLUGIN(Memory, craft::hook<&Memory::note>("post_step", "x", "out.sum", "out.some", "count.some"))
        """#

    private static let rust = #"""
        use craft_plugin::{hooks, Parameter, ParameterRow, Plugin, Reader, Result, Settings, Writer};
        const LABEL: Parameter<&str> = Parameter::new("label", "none", "A text.");
        struct Memory { sum: f64, history: Vec<f32>, calls: Vec<i64>, label: String }
        impl Plugin for Memory {
            const ID: &'static str = "org.example.memory";
            const VERSION: &'static str = "1.0.0";
            const SUMMARY: &'static str = "A test.";
            const STATE_VERSION: u32 = 1;
            fn parameters() -> Vec<ParameterRow> { vec![LABEL.row()] }
            fn new(settings: &Settings) -> Result<Self> {
                Ok(Memory { sum: 0.0, history: Vec::new(), calls: vec![0, 0], label: settings.get(LABEL)? })
            }
            fn save(&self, to: &mut Writer) -> Result {
                to.f64(self.sum)?;
                to.f32s(&self.history)?;
                to.i64s(&self.calls)?;
                to.f64s(&[self.sum])?;
                to.text(&self.label)
            }
            fn load(&mut self, from: &mut Reader, _: u32) -> Result {
                let (sum, history, calls) = (from.f64()?, from.f32s(1 << 24)?, from.i64s(2)?);
                from.f64s(1)?;
                *self = Memory { sum, history, calls, label: from.text(1 << 16)? };
                Ok(())
            }
            fn reset(&mut self) -> Result { self.sum = 0.0; self.history.clear(); self.calls = vec![0, 0]; Ok(()) }
        }
        hooks! { Memory:
            post_step fn note(&mut self, x: f64 = "x")
                -> (total: Out<f64> = "out.sum", some: Out<Option<f64>> = "out.some", count: Out<Option<i64>> = "count.some") {
                self.sum += x;
                total.set(self.sum);
                let is_even = self.history.len() % 2 == 0;
                // Bare, in Some, or None.
                some.set(x);
                some.set(if is_even { Some(x) } else { None });
                count.set(0);
                if !is_even { count.set(None); }
                self.calls[self.history.len() % 2] += 1;
                self.history.push(x as f32);
                Ok(())
            }
        }
        craft_plugin::export!(Memory);
        """#

    private static let swift = #"""
        public import PluginAPI
        import PluginKit

        final class Memory: Plugin {
            static let description = PluginDescription(id: "org.example.memory", version: "1.0.0", summary: "A test.")
            static let label = Parameter("label", default: "none", "A text.")
            static var parameters: [any AnyParameter] { [label] }

            struct Note: HookValues {
                @Input("x") var x: Double
                @Output("out.sum") var total: Double
                @Output("out.some") var some: Double?
                @Output("count.some") var count: Int?
            }
            static let hooks = [
                Hook<Memory>(.postStep, values: Note()) { memory, call in
                    memory.sum += call.x
                    call.total = memory.sum
                    let isEven = memory.history.count.isMultiple(of: 2)
                    call.some = call.x
                    call.some = isEven ? call.some : nil
                    if isEven { call.count = 0 }
                    memory.calls[memory.history.count % 2] += 1
                    memory.history.append(Float(call.x))
                }
            ]

            private var sum = 0.0
            private var history: [Float] = []
            private var calls: [Int64] = [0, 0]
            private var label: String
            init(settings: Settings) throws { label = try settings(Self.label) }

            static var stateVersion: UInt32 { 1 }
            func save(to output: inout StateWriter) throws {
                try output.write(sum)
                try output.write(history)
                try output.write(calls)
                try output.write([sum])
                try output.write(label)
            }
            func load(from input: inout StateReader, version: UInt32) throws {
                let sum = try input.double()
                let (history, calls) = (try input.floats(), try input.integers(limit: 2))
                _ = try input.doubles(limit: 1)
                let label = try input.text()
                (self.sum, self.history, self.calls, self.label) = (sum, history, calls, label)
            }
            func reset() { (sum, history, calls) = (0, [], [0, 0]) }
        }

        @c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: Memory.self) }
        """#
}
