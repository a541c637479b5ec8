import Formats
import Templates
import Testing

/// Names of new plugins, which are identifiers in four languages.
@Suite struct PluginNameTests {
    @Test(arguments: ["Calm", "A", "GradientCap2", String(repeating: "A", count: 64)])
    func namesThatWork(_ name: String) throws { try PluginName.check(name) }

    @Test(arguments: [
        "lower", "My-Rule", "Räte", "../Rule", "", "2Rules", "Self", "HookValues", String(repeating: "A", count: 65),
    ])
    func namesThatDoNot(_ name: String) throws {
        #expect(try #require(throws: TemplateError.self) { try PluginName.check(name) }.code == .name)
    }

    /// Folders are quoted for a shell.
    @Test func commandsCanBePasted() {
        let plugin = NewPlugin(name: "Calm", language: .c, folder: "my rules/Calm")
        let text = plugin.commands(relativeTo: "my rules/Calm", craft: "craft")
        #expect(text.contains("make -C 'my rules/Calm'"))
        #expect(text.contains("craft plugins check 'my rules/Calm/libCalm.so'"))
    }
}
