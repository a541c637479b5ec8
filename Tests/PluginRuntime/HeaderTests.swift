import Foundation
import PluginRuntime
import TestSupport
import Testing

/// The header in each compiler it promises to work with, and what must not compile.
@Suite struct HeaderTests {
    let plugins: CPlugin

    init() throws { plugins = try CPlugin() }

    @Test(arguments: [
        ["gcc", "-std=c99", "-pedantic"], ["clang", "-std=c99", "-pedantic"], ["gcc", "-std=c11"],
        ["g++", "-std=c++11"], ["clang++", "-std=c++20"],
    ])
    func compilesAndRuns(compiler: [String]) throws {
        let name = "Sum"
        try plugins.build(name, CPlugin.sum(["x", "out.a?"], "out.y"), compiler: compiler)
        let values = ValueStore()
        values.set("x", 2.0)
        try plugins.compose(name).run(.postStep, values: values, step: 0)
        #expect(values.double("out.y") == 3)
        let symbols = try Command.run(["nm", "-D", "--defined-only", plugins.path(name)]).output
        let functions = symbols.split(separator: "\n").filter { $0.contains(" T ") }
        #expect(functions.count == 1 && functions[0].hasSuffix(" craft_plugin_entry"), "\(symbols)")
    }

    private static let list = """
        #include <craft_plugin.h>
        #define IN(X) X(f64, lambda, "x", "") X(f64_array, gram, "matrix", "[r,c]")
        #define OUT(X) X(f64, y, "out.y", "")
        """

    /// A parameter of another type than the list declares.
    @Test(arguments: [
        "float lambda, const craft_array *gram, double *y", "double lambda, craft_array *gram, double *y",
        "double lambda, const craft_array *gram, float *y", "double lambda, double *y",
    ])
    func wrongTypeDoesNotCompile(parameters: String) throws {
        let source =
            Self.list + """

                CRAFT_HOOK(combine, IN, OUT);
                static int32_t combine(void *self, \(parameters), craft_error *error) {
                    (void)self; (void)lambda; (void)error; *y = 0; return CRAFT_OK;
                }
                """
        let result = try plugins.compile("Wrong", source)
        #expect(result.status != 0)
        #expect(
            result.output.contains("conflicting types for ‘combine’")
                || result.output.contains("conflicting types for 'combine'"))
    }

    @Test(arguments: ["f32", "bool", "float_array", "i32"])
    func kindTheABILacksDoesNotCompile(kind: String) throws {
        let result = try plugins.compile(
            "Wrong",
            """
            #include <craft_plugin.h>
            #define IN(X) X(\(kind), lambda, "x", "")
            CRAFT_HOOK(combine, IN, CRAFT_NONE) { return CRAFT_OK; }
            """)
        #expect(result.status != 0)
        #expect(result.output.contains("CRAFT_IN_\(kind)"), "\(result.output)")
    }

    /// The layout other languages' bindings and DLPack rely on.
    @Test func layout() throws {
        try plugins.build(
            "Layout",
            """
            #include <craft_plugin.h>
            #define CHECK(name, condition) typedef char check_##name[(condition) ? 1 : -1];
            CHECK(data, offsetof(craft_array, data) == 0)
            CHECK(device, offsetof(craft_array, device_type) == 8)
            CHECK(ndim, offsetof(craft_array, ndim) == 16)
            CHECK(code, offsetof(craft_array, type_code) == 20)
            CHECK(lanes, offsetof(craft_array, type_lanes) == 22)
            CHECK(shape, offsetof(craft_array, shape) == 24)
            CHECK(strides, offsetof(craft_array, strides) == 32)
            CHECK(offset, offsetof(craft_array, byte_offset) == 40)
            CHECK(flags, offsetof(craft_array, flags) == 48)
            CHECK(plugin, sizeof(craft_plugin) == 120)
            CHECK(hook, sizeof(craft_hook) == 56)
            CHECK(parameter, sizeof(craft_parameter) == 56)
            CHECK(setting, sizeof(craft_setting) == 40)
            CHECK(error, sizeof(craft_error) == 1032)
            """)
    }

    /// PluginKit: a hook over a type the ABI lacks.
    @Test func swiftHookOverFloatDoesNotCompile() throws {
        func check(_ type: String) throws -> Command.Result {
            try typecheck(
                "Hook<Rule>(.postStep, Input<\(type)>(\"x\"), Output<Double>(\"out.y\")) { _, x, y in _ = x }")
        }
        let good = try check("Double")
        #expect(good.status == 0, "\(good.output)")
        let bad = try check("Float")
        #expect(bad.status != 0)
        #expect(bad.output.contains("type 'Float' does not conform to protocol 'InputValue'"), "\(bad.output)")
    }

    /// PluginKit: a call has what its hook declares, in the declared types, and nothing is written to an input.
    @Test(arguments: [
        ("call.y = call.x", nil), ("call.z = nil; call.z = 2", nil), ("call.pair.left = call.n", nil),
        ("call.scope = .layer", nil),
        ("call.y = call.w", "has no member 'w'"), ("call.y = call.n", "'Int' to type 'Double'"),
        ("call.x = 1", "'x' is a get-only property"), ("call.y = nil", "'nil' cannot be assigned"),
        ("call.scope = 1", "'Int' to type 'BlockScope'"),
    ]) func swiftCallsHaveWhatIsDeclared(_ body: String, _ refusal: String?) throws {
        let result = try typecheck(
            "Hook<Rule>(.postStep, values: Values()) { _, call in \(body) }",
            """
            struct Pair: HookValues { @Output("count.left") var left: Int }
            struct Values: HookValues {
                @Input("x") var x: Double
                @Input("n") var n: Int
                @Output("out.y") var y: Double
                @Output("out.z") var z: Double?
                @Output("choice") var scope: BlockScope
                let pair = Pair()
            }
            """)
        guard let refusal else {
            #expect(result.status == 0, "\(result.output)")
            return
        }
        #expect(result.status != 0)
        #expect(refusal.split(separator: "|").contains { result.output.contains($0) }, "\(result.output)")
    }

    /// A Swift plugin with this hook, compiled as far as its types go.
    private func typecheck(_ hook: String, _ declarations: String = "") throws -> Command.Result {
        let modules = BuildFolder.url.appendingPathComponent("Modules").path
        let map = "\(CPlugin.include)/module.modulemap"
        let file = plugins.folder.path("Hook.swift")
        let source = """
            import PluginKit
            \(declarations)
            final class Rule: Plugin {
                static let description = PluginDescription(id: "a", version: "1", summary: "s")
                static let hooks = [\(hook)]
                init(settings: Settings) throws {}
            }
            """
        try Data(source.utf8).write(to: URL(fileURLWithPath: file))
        return try Command.run([
            "swiftc", "-typecheck", "-swift-version", "6", "-I", modules, "-Xcc", "-fmodule-map-file=\(map)", "-I",
            CPlugin.include, file,
        ])
    }
}
