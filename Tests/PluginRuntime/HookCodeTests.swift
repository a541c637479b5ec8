import Foundation
import PluginRuntime
import TestSupport
import Testing

/// Integers that stand for a choice.
@Suite struct HookCodeTests {
    let plugins: CPlugin

    init() throws { plugins = try CPlugin() }

    private func plan(_ name: String, code: String) throws -> ValueStore {
        try plugins.build(
            name,
            CPlugin.source(
                """
                #define OUT(X) X(i64, scope, "block_scope", "")
                CRAFT_HOOK(plan, CRAFT_NONE, OUT) { *scope = \(code); return CRAFT_OK; }
                """, table: #"CRAFT_HOOK_ENTRY("plan", plan)"#))
        let values = ValueStore()
        try plugins.compose(name, registry: .training).run(.plan, values: values, step: 0)
        return values
    }

    @Test func theHeadersConstantsAreTheHosts() throws {
        #expect(try plan("Layers", code: "CRAFT_BLOCK_SCOPE_LAYER").code("block_scope") == BlockScope.layer)
        #expect(try plan("All", code: "CRAFT_BLOCK_SCOPE_GLOBAL").code("block_scope") == BlockScope.global)
    }

    @Test(arguments: ["7", "-1", "INT64_MAX"])
    func anUnknownOneIsRefused(_ code: String) throws {
        let failure = try #require(throws: PluginFailure.self) { _ = try plan("Wild", code: code) }
        #expect(failure.plugin == "Wild" && failure.point == .plan)
        #expect(failure.message.hasPrefix("it sets 'block_scope' to "))
        #expect(failure.message.hasSuffix("; there are 0 (tensor), 1 (layer), 2 (module) and 3 (global)"))
    }

    @Test func aHostsOwnValueIsCheckedToo() throws {
        let values = ValueStore()
        values.set("block_scope", Int64(9))
        let error = try #require(throws: UnknownCode.self) { _ = try values.code("block_scope", as: BlockScope.self) }
        #expect("\(error)" == "'block_scope' is 9; there are 0 (tensor), 1 (layer), 2 (module) and 3 (global)")
        #expect(try values.code("tap.a.pooling", as: TapPooling.self) == nil)
    }

    @Test func anOpenListTakesIndices() {
        #expect(CodeTable.tapLayer.contains(12) && CodeTable.tapLayer.contains(-2))
        #expect(CodeTable.tapLayer.valuesText == "-1 (off), -2 (all) and indices")
        #expect(!CodeTable.tapTokens.contains(5))
    }

    /// A name whose value depends on a decision is read after whoever decides, whatever the list's order.
    @Test func readersRunAfterWhoDecides() throws {
        let registry = NameRegistry([
            .init("scope", type: "i64", producible: [.plan], provider: .plugin, isShared: true, doc: "A decision."),
            .init(
                "group", type: "i64", readable: [.plan], provider: .host, after: "scope", doc: "What follows from it."),
            .init("seen", type: "i64", producible: [.plan], provider: .plugin, doc: "A result."),
        ])
        try plugins.build(
            "Decides",
            CPlugin.source(
                """
                #define OUT(X) X(i64, scope, "scope", "")
                CRAFT_HOOK(plan, CRAFT_NONE, OUT) { *scope = 1; return CRAFT_OK; }
                """, table: #"CRAFT_HOOK_ENTRY("plan", plan)"#))
        try plugins.build(
            "Reads",
            CPlugin.source(
                """
                #define IN(X) X(i64, group, "group", "")
                #define OUT(X) X(i64, seen, "seen", "")
                CRAFT_HOOK(plan, IN, OUT) { *seen = group; return CRAFT_OK; }
                """, table: #"CRAFT_HOOK_ENTRY("plan", plan)"#))
        let plan = try plugins.compose("Reads,Decides", registry: registry).plan
        #expect(plan.points.first?.hooks.map(\.plugin) == ["Decides", "Reads"])
    }
}
