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

    @Test func assignmentsGoOverTheList() throws {
        let lists = try [PluginRequest.parseList("A:x=1,second=B"), PluginRequest.parseList("A")]
        let set = try PluginRequest.lists(lists, setting: ["A.x=2", "second.y=p=q,r", "A.x = 3", "second.z="])
        #expect(set[0][0].settings == ["x": "3"] && set[1][0].settings == ["x": "3"])
        #expect(set[0][1].settings == ["y": "p=q,r", "z": ""])
        #expect(try PluginRequest.parseList(set[0].map(\.listText).joined(separator: ",")) == set[0])
        let dotted = try PluginAssignment(parsing: "my.rule.key=1")
        #expect(dotted == PluginAssignment(instance: "my.rule", key: "key", value: "1"))
    }

    @Test(arguments: [
        ("CRaFTDaul.x=1", "there is no plugin 'CRaFTDaul' in the list; did you mean 'CRaFTDual'?"),
        ("Z.x=1", "in the list: CRaFTDual, second"), ("B.x=1", "it is there under the name second"),
        ("CRaFTDual.x", "write PLUGIN.key=value"), ("x=1", "write PLUGIN.key=value"), (".x=1", "PLUGIN.key=value"),
        ("CRaFTDual.=1", "PLUGIN.key=value"),
    ])
    func assignmentsToNothing(text: String, words: String) throws {
        let lists = try [PluginRequest.parseList("CRaFTDual,second=B")]
        let error = try #require(throws: PluginListError.self) { try PluginRequest.lists(lists, setting: [text]) }
        #expect(error.description.contains(words), "\(error)")
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
