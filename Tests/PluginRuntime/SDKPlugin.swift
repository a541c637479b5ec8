import Foundation
import TestSupport
import Testing

/// The SDKs over the C ABI, with the same plugins written in each.
enum SDKLanguage: String, CaseIterable, CustomTestStringConvertible {
    case cpp, clangCpp, rust

    var testDescription: String { rawValue }

    /// Compiles `source` to `lib<name>.so` in the folder of `plugins`.
    func compile(_ name: String, _ source: String, in plugins: CPlugin) throws -> Command.Result {
        switch self {
        case .cpp: return try plugins.compile(name, source, compiler: ["g++", "-std=c++20"])
        case .clangCpp: return try plugins.compile(name, source, compiler: ["clang++", "-std=c++20"])
        case .rust:
            let file = plugins.folder.path("\(name).rs")
            try Data(source.utf8).write(to: URL(fileURLWithPath: file))
            let crate = try Self.crate.get()
            return try Command.run([
                "rustc", "--edition", "2021", "--crate-type", "cdylib", "--crate-name", name.lowercased(), "-D",
                "warnings",
                "-O", "-L", crate.url.path, "--extern", "craft_plugin=\(crate.path("libcraft_plugin.rlib"))", file,
                "-o",
                plugins.path(name),
            ])
        }
    }

    /// Compiles what must compile.
    func build(_ name: String, _ source: String, in plugins: CPlugin) throws {
        let result = try compile(name, source, in: plugins)
        try #require(result.status == 0, "\(result.output)")
    }

    /// The Rust crate, compiled once and only read afterwards. Without rustc the tests fail: an SDK nobody compiled is not known to work.
    private nonisolated(unsafe) static let crate = Result<TemporaryFolder, any Error> {
        let folder = try TemporaryFolder()
        let source = BuildFolder.repository.appendingPathComponent("SDK/rust/src/lib.rs").path
        let result = try Command.run([
            "rustc", "--edition", "2021", "--crate-type", "rlib", "--crate-name", "craft_plugin", "-D", "warnings",
            "-O",
            source, "-o", folder.path("libcraft_plugin.rlib"),
        ])
        guard result.status == 0 else {
            throw BuildFailure("the Rust crate (scripts/install.sh --tests installs rustc): \(result.output)")
        }
        return folder
    }

    struct BuildFailure: Error, CustomStringConvertible {
        let description: String
        init(_ description: String) { self.description = description }
    }

    /// A plugin with one `post_step` hook over one input `x` of `type`, and one result `out.y`.
    func oneInput(_ type: String, name: String = "x", point: String = "post_step") -> String {
        switch self {
        case .cpp, .clangCpp:
            """
            #include <craft_plugin.hpp>
            struct Rule {
                static constexpr craft::description about{"org.example.rule", "1.0.0", "A test."};
                void update(\(type), double &y) { y = 1; }
            };
            CRAFT_PLUGIN(Rule, craft::hook<&Rule::update>("\(point)", "\(name)", "out.y"))
            """
        case .rust:
            """
            use craft_plugin::{hooks, Plugin, Result, Settings};
            struct Rule;
            impl Plugin for Rule {
                const ID: &'static str = "org.example.rule";
                const VERSION: &'static str = "1.0.0";
                const SUMMARY: &'static str = "A test.";
                fn new(_: &Settings) -> Result<Self> { Ok(Rule) }
            }
            hooks! { Rule: \(point) fn update(&mut self, x: \(type) = "\(name)") -> (y: Out<f64> = "out.y") { y.set(1.0); Ok(()) } }
            craft_plugin::export!(Rule);
            """
        }
    }

    /// Every kind of input and result, results between the inputs where the language allows it.
    var everyKind: String {
        switch self {
        case .cpp, .clangCpp:
            """
            #include <craft_plugin.hpp>
            struct Every {
                static constexpr craft::description about{"org.example.every", "1.0.0", "A test."};
                void every(double &sum, double a, std::int64_t b, craft::array<double> copy, craft::array<const double> m,
                    std::optional<double> c, std::optional<std::int64_t> d, craft::array<const float> row,
                    craft::array<const std::int64_t> ids, std::optional<double> e,
                    std::optional<craft::array<const double>> g, std::int64_t &whole, craft::array<std::int64_t> list,
                    std::optional<double> &some, std::optional<craft::array<double>> none,
                    std::optional<std::int64_t> &) const {
                    if (e || g || none || m.rank() != 2) throw craft::error("absent is not empty");
                    sum = a + 10 * static_cast<double>(b) + 100 * c.value_or(0);
                    whole = d.value_or(-1);
                    for (std::size_t i = 0; i < m.shape(0); i++) {
                        for (std::size_t j = 0; j < m.shape(1); j++) copy.at(i, j) = m.at(i, j) + row[j];
                    }
                    for (std::size_t i = 0; i < ids.size(); i++) list[i] = ids[i] + 1;
                    some = 7;
                }
            };
            CRAFT_PLUGIN(Every, craft::hook<&Every::every>("pre_backward", "out.sum", "x", "n", "like.matrix[r,c]",
                "matrix[r,c]", "out.c", "count.d", "row[c]", "ids[r]", "out.e", "like.g[r,z]", "count.whole", "list.a[r]",
                "out.some", "like.g[r,z]", "count.last"))
            """
        case .rust:
            """
            use craft_plugin::{hooks, Plugin, Result, Settings};
            struct Every;
            impl Plugin for Every {
                const ID: &'static str = "org.example.every";
                const VERSION: &'static str = "1.0.0";
                const SUMMARY: &'static str = "A test.";
                fn new(_: &Settings) -> Result<Self> { Ok(Every) }
            }
            hooks! { Every:
                pre_backward fn every(&mut self, a: f64 = "x", b: i64 = "n", m: Array<f64> = "matrix[r,c]",
                    c: Option<f64> = "out.c", d: Option<i64> = "count.d", row: Array<f32> = "row[c]",
                    ids: Array<i64> = "ids[r]", e: Option<f64> = "out.e", g: Option<Array<f64>> = "like.g[r,z]"
                ) -> (sum: Out<f64> = "out.sum", whole: Out<i64> = "count.whole", copy: ArrayMut<f64> = "like.matrix[r,c]",
                    list: ArrayMut<i64> = "list.a[r]", some: Out<Option<f64>> = "out.some",
                    none: Option<ArrayMut<f64>> = "like.g[r,z]", last: Out<Option<i64>> = "count.last") {
                    if e.is_some() || g.is_some() || none.is_some() { return Err("absent is not None".into()); }
                    sum.set(a + 10.0 * b as f64 + 100.0 * c.unwrap_or(0.0));
                    whole.set(d.unwrap_or(-1));
                    for i in 0..m.shape(0) {
                        for j in 0..m.shape(1) { copy[[i, j]] = m[[i, j]] + f64::from(row[[j]]); }
                    }
                    for (to, from) in list.elements().iter_mut().zip(ids.elements()) { *to = from + 1; }
                    some.set(7.0);
                    Ok(())
                }
            }
            craft_plugin::export!(Every);
            """
        }
    }

    /// Every kind of setting, state, and every way to fail.
    var counter: String {
        switch self {
        case .cpp, .clangCpp:
            """
            #include <craft_plugin.hpp>
            #include <cmath>
            struct Counter {
                static constexpr craft::description about{
                    "org.example.counter", "1.0.0", "A test.", "n <- n + 1", "Peano (1889)."};
                static constexpr craft::parameter<double> rate{"rate", 0.5, 0, 10, "Per step."};
                static constexpr craft::parameter<std::int64_t> start{"start", 3, "First."};
                static constexpr craft::parameter<bool> loud{"loud", false, "Whether."};
                static constexpr craft::parameter<craft::text> mode{"mode", "count", {"count", "throw", "odd"}, "Which."};
                static constexpr auto parameters = craft::list(rate, start, loud, mode);
                static constexpr std::uint32_t state_version = 2;

                double step, sum = 0;
                std::int64_t steps;
                std::vector<double> history;
                std::string what;
                explicit Counter(const craft::settings &s) : step(s[rate]), steps(s[start]), what(s[mode]) {
                    if (step == 0) throw craft::error(s.instance() + " needs a rate above 0");
                    if (s[loud]) step *= 2;
                }
                void count(double x, double &total, std::int64_t &at) {
                    if (what == "throw") throw std::runtime_error("on purpose");
                    if (what == "odd") throw 7;
                    history.push_back(x);
                    total = sum += step * x;
                    at = ++steps;
                }
                void save(craft::writer &to) const { to.f64(sum); to.i64(steps); to.f64s(history); }
                void load(craft::reader &from, std::uint32_t) { sum = from.f64(); steps = from.i64(); history = from.f64s(); }
                void reset() { sum = 0; steps = 0; history.clear(); }
            };
            CRAFT_PLUGIN(Counter, craft::hook<&Counter::count>("post_step", "x", "out.sum", "count.steps"))
            """
        case .rust:
            """
            use craft_plugin::{hooks, Parameter, ParameterRow, Plugin, Reader, Result, Settings, Writer};
            const RATE: Parameter<f64> = Parameter::new("rate", 0.5, "Per step.").range(0.0, 10.0);
            const START: Parameter<i64> = Parameter::new("start", 3, "First.");
            const LOUD: Parameter<bool> = Parameter::new("loud", false, "Whether.");
            const MODE: Parameter<&str> = Parameter::new("mode", "count", "Which.").choices(&["count", "throw", "odd"]);
            struct Counter { step: f64, sum: f64, steps: i64, history: Vec<f64>, what: String }
            impl Plugin for Counter {
                const ID: &'static str = "org.example.counter";
                const VERSION: &'static str = "1.0.0";
                const SUMMARY: &'static str = "A test.";
                const FORMULA: &'static str = "n <- n + 1";
                const REFERENCE: &'static str = "Peano (1889).";
                const STATE_VERSION: u32 = 2;
                fn parameters() -> Vec<ParameterRow> { vec![RATE.row(), START.row(), LOUD.row(), MODE.row()] }
                fn new(s: &Settings) -> Result<Self> {
                    let rate = s.get(RATE)?;
                    if rate == 0.0 { return Err(format!("{} needs a rate above 0", s.instance()).into()); }
                    let step = if s.get(LOUD)? { 2.0 * rate } else { rate };
                    Ok(Counter { step, sum: 0.0, steps: s.get(START)?, history: Vec::new(), what: s.get(MODE)? })
                }
                fn save(&self, to: &mut Writer) -> Result { to.f64(self.sum)?; to.i64(self.steps)?; to.f64s(&self.history) }
                fn load(&mut self, from: &mut Reader, _: u32) -> Result {
                    let (sum, steps, history) = (from.f64()?, from.i64()?, from.f64s(1 << 24)?);
                    self.sum = sum;
                    self.steps = steps;
                    self.history = history;
                    Ok(())
                }
                fn reset(&mut self) -> Result { self.sum = 0.0; self.steps = 0; self.history.clear(); Ok(()) }
            }
            hooks! { Counter:
                post_step fn count(&mut self, x: f64 = "x") -> (total: Out<f64> = "out.sum", at: Out<i64> = "count.steps") {
                    if self.what == "throw" { return Err("on purpose".into()); }
                    if self.what == "odd" { panic!("odd {}", self.steps); }
                    self.history.push(x);
                    self.sum += self.step * x;
                    self.steps += 1;
                    total.set(self.sum);
                    at.set(self.steps);
                    Ok(())
                }
            }
            craft_plugin::export!(Counter);
            """
        }
    }
}
