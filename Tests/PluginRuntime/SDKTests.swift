import Foundation
import PluginRuntime
import TestSupport
import Testing

/// The C++ header and the Rust crate: what a plugin written with them gets and gives, and what must not compile.
@Suite struct SDKTests {
    let plugins: CPlugin

    init() throws { plugins = try CPlugin() }

    @Test(arguments: SDKLanguage.allCases)
    func everyKindOfArgument(language: SDKLanguage) throws {
        try language.build("Every", language.everyKind, in: plugins)
        let registry = NameRegistry(
            NameRegistry.test.entries + [
                .init(
                    "like.g", type: "f64[r,z]", readable: [.preBackward], producible: [.preBackward], provider: .host,
                    doc: "Absent.")
            ])
        let composition = try plugins.compose("Every", registry: registry)
        let values = ValueStore()
        let matrix = TestArray<Double>([1, 2, 3, 4, 5, 6], shape: [2, 3])
        let row = TestArray<Float>([0.5, 0.25, 0.125], shape: [3])
        let ids = TestArray<Int64>([Int64.max - 1, -5], shape: [2])
        values.set("x", 3.5)
        values.set("n", Int64(-2))
        values.set("matrix", matrix.view)
        values.set("row", row.view)
        values.set("ids", ids.view)
        values.set("out.c", 2.0)
        values.set("count.d", Int64(1) << 40)
        values.set("count.last", Int64(5))
        try composition.run(.preBackward, values: values, step: 0)
        #expect(values.double("out.sum") == 3.5 - 20 + 200)
        #expect(values.integer("count.whole") == 1 << 40)
        #expect(values.array("like.matrix").map { Array($0.doubles) } == [1.5, 2.25, 3.125, 4.5, 5.25, 6.125])
        #expect(values.array("list.a").map { Array($0.integers) } == [.max, -4])
        #expect(values.double("out.some") == 7)
        #expect(values.integer("count.last") == nil)
        #expect(values.array("like.g") == nil)
    }

    @Test(arguments: SDKLanguage.allCases)
    func settingsStateAndFailures(language: SDKLanguage) throws {
        try language.build("Counter", language.counter, in: plugins)
        let library = try PluginLibrary(path: plugins.path("Counter"))
        #expect(library.parameters.map(\.name) == ["rate", "start", "loud", "mode"])
        #expect(library.parameters.map(\.defaultText) == ["0.5", "3", "false", "count"])
        #expect(library.parameters[3].choices == ["count", "throw", "odd"])
        #expect(library.formula == "n <- n + 1" && library.reference == "Peano (1889).")
        try library.checkEntry()

        func run(_ composition: Composition, _ x: Double) throws -> (Double?, Int64?) {
            let values = ValueStore()
            values.set("x", x)
            try composition.run(.postStep, values: values, step: 4)
            return (values.double("out.sum"), values.integer("count.steps"))
        }
        let first = try plugins.compose("Counter:rate=0.25:start=10:loud=yes")
        #expect(try run(first, 3) == (1.5, 11))
        #expect(try run(first, 1) == (2, 12))
        let saved = try first.saveState()
        #expect(try first.saveState() == saved)
        let second = try plugins.compose("Counter:rate=0.25:start=10:loud=yes")
        try second.loadState(saved)
        #expect(try second.saveState() == saved)
        #expect(try run(second, 2) == run(first, 2))

        // A state that ends early changes nothing.
        let before = try second.saveState()
        var damaged = saved
        for (name, bytes) in saved { damaged[name] = bytes.dropLast(4) }
        #expect(throws: (any Error).self) { try second.loadState(damaged) }
        #expect(try second.saveState() == before)

        #expect(try plugins.problems("c=Counter:rate=0").contains { "\($0)".contains("c needs a rate above 0") })
        for (mode, words) in [("throw", "on purpose"), ("odd", language == .rust ? "odd 3" : "not a std::exception")] {
            let failure = try #require(throws: PluginFailure.self) {
                _ = try run(plugins.compose("Counter:mode=\(mode)"), 1)
            }
            #expect(failure.plugin == "Counter" && failure.step == 4 && failure.message.contains(words), "\(failure)")
        }
    }

    @Test(arguments: SDKLanguage.allCases)
    func exportsOneSymbol(language: SDKLanguage) throws {
        // The templates' link flags; Rust needs none.
        let map = BuildFolder.repository.appendingPathComponent("Plugins/exports.map").path
        let source = language.oneInput(language == .rust ? "f64" : "double")
        if language == .rust {
            try language.build("Rule", source, in: plugins)
        } else {
            let compiler = language == .cpp ? "g++" : "clang++"
            let result = try plugins.compile(
                "Rule", source, compiler: [compiler, "-std=c++20", "-Wl,--version-script=\(map)"])
            try #require(result.status == 0, "\(result.output)")
        }
        let symbols = try Command.run(["nm", "-D", "--defined-only", plugins.path("Rule")]).output.split(
            separator: "\n")
        #expect(symbols.count == 1 && symbols[0].hasSuffix(" T craft_plugin_entry"), "\(symbols)")
    }

    // MARK: - Types

    private static let noSuchType = "a parameter of a type the ABI does not have"

    @Test(arguments: [
        ("float x", noSuchType), ("int x", noSuchType), ("bool x", noSuchType), ("float &x", noSuchType),
        ("const double &x", noSuchType), ("double *x", noSuchType), ("std::optional<float> x", noSuchType),
        ("craft::array<const int> x", "constraint"), ("const craft::array<const double> &x", noSuchType),
        // A right type under a name of the other kind, and too few names.
        ("craft::array<const double> x", "ends in its axes"), ("double x, double z", "one name for each parameter"),
    ])
    func wrongTypeDoesNotCompileInCpp(parameter: String, words: String) throws {
        try expectRefusal(.cpp, "[[maybe_unused]] \(parameter)", words)
    }

    private func expectRefusal(_ language: SDKLanguage, _ parameter: String, _ words: String) throws {
        let bad = try language.compile("Wrong", language.oneInput(parameter), in: plugins)
        #expect(bad.status != 0)
        #expect(bad.output.contains(words), "\(bad.output)")
    }

    /// The same sources with a right type compile, so the type is what the others fail for.
    @Test(arguments: [(SDKLanguage.cpp, "double x"), (.clangCpp, "double x"), (.rust, "f64")])
    func rightTypeCompiles(language: SDKLanguage, parameter: String) throws {
        let attribute = language == .rust ? "" : "[[maybe_unused]] "
        try language.build("Rule", language.oneInput(attribute + parameter), in: plugins)
        if language == .clangCpp { try expectRefusal(language, attribute + "float x", Self.noSuchType) }
    }

    @Test func wrongPointOrNameDoesNotCompileInCpp() throws {
        for source in [
            SDKLanguage.cpp.oneInput("double", name: "matrix[r,c]"),
            SDKLanguage.cpp.oneInput("double", point: "pre_step"),
        ] {
            let bad = try SDKLanguage.cpp.compile("Wrong", source, in: plugins)
            #expect(bad.status != 0)
            #expect(
                bad.output.contains("the point is plan,") || bad.output.contains("ends in its axes"), "\(bad.output)")
        }
    }

    @Test(arguments: [
        ("f32", "the trait bound `f32: "), ("i32", "the trait bound `i32: "), ("bool", "the trait bound `bool: "),
        ("&f64", "the trait bound `&f64: "), ("Option<f32>", "the trait bound `Option<f32>: "),
        ("Array<i32>", "the trait bound `i32: "), ("Out<f64>", "the trait bound `Out<'_, f64>: "),
        // Kept beyond the call.
        ("Array<'static, f64>", "borrowed data escapes"),
    ])
    func wrongTypeDoesNotCompileInRust(type: String, words: String) throws { try expectRefusal(.rust, type, words) }

    /// Rust sees names only at run time: the host gets no table, and the plugin has said why.
    @Test func nameOfTheWrongKindIsRefusedInRust() throws {
        try SDKLanguage.rust.build("Rule", SDKLanguage.rust.oneInput("f64", name: "x[r]"), in: plugins)
        #expect(throws: (any Error).self) { try PluginLibrary(path: plugins.path("Rule")) }
    }
}
