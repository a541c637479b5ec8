import PluginRuntime
import Testing

@Suite struct PluginRequestTests {
    @Test func namesSettingsAndInstances() throws {
        let list = try PluginRequest.parseList(" A, B:key=value:key2=value ,second=A:rate=1e-3")
        #expect(
            list == [
                PluginRequest(name: "A"),
                PluginRequest(name: "B", settings: ["key": "value", "key2": "value"]),
                PluginRequest(name: "A", instance: "second", settings: ["rate": "1e-3"]),
            ])
        #expect(list.map(\.instance) == ["A", "B", "second"])
    }

    @Test func pathsKeepTheirPluginsName() throws {
        let list = try PluginRequest.parseList("/a=b/libRule.so:x=1,sub/Other.so,mine=./libRule.so")
        #expect(list.map(\.instance) == ["Rule", "Other", "mine"])
        #expect(list.map(\.name) == ["/a=b/libRule.so", "sub/Other.so", "./libRule.so"])
    }

    @Test func valuesMayHoldSeparators() throws {
        let list = try PluginRequest.parseList(#"A:text=a\,b\:c\\d=e"#)
        #expect(list == [PluginRequest(name: "A", settings: ["text": #"a,b:c\d=e"#])])
    }

    @Test func emptyListIsNoPlugins() throws {
        #expect(try PluginRequest.parseList("  ").isEmpty)
        #expect(try PluginRequest.parseList("A:text=") == [PluginRequest(name: "A", settings: ["text": ""])])
    }

    @Test(arguments: [
        ("A,,B", "empty entry"), ("A,", "empty entry"), (":x=1", "names no plugin"), ("A:x", "write key=value"),
        ("A:=1", "write key=value"), ("A:x=1:x=2", "sets 'x' twice"), ("a b=A", "cannot be an instance name"),
        ("a.b=A", "cannot be an instance name"), ("=A", "cannot be an instance name"), ("a=", "names no plugin"),
    ])
    func unreadableLists(list: String, words: String) throws {
        let error = try #require(throws: PluginListError.self) { try PluginRequest.parseList(list) }
        #expect(error.description.contains(words), "\(error)")
    }
}
