import Foundation
import PluginRuntime
import TestSupport
import Testing
import Training

/// `Sources/PluginAPI/names.json` is what the header, the guide and the trainer say.
@Suite struct NameFileTests {
    private struct File: Decodable {
        struct Group: Decodable { var names: [Name] }
        // The names are the file's.
        // swift-format-ignore: AlwaysUseLowerCamelCase
        struct Name: Decodable {
            var name: String
            var type: String
            var read_at: [String]
            var given_at: [String]
            var provider: String
            var requires: String?
            var after: String?
            var code: String?
            var hosts: [String]?
            var chained: Bool?
            var shared: Bool?
            var collected: Bool?
            var cost: String
            var since: String
            var doc: String
        }
        struct Codes: Decodable {
            struct Value: Decodable {
                var name: String
                var code: Int64
                var doc: String
            }
            var doc: String
            var open: Bool?
            var values: [Value]
        }
        var abi: String
        var hosts: [String: String]
        var codes: [String: Codes]
        var points: [String: String]
        var axes: [String: String]
        var groups: [Group]
    }

    private func file() throws -> File {
        let url = BuildFolder.repository.appendingPathComponent("Sources/PluginAPI/names.json")
        return try JSONDecoder().decode(File.self, from: Data(contentsOf: url))
    }

    @Test func theTrainersRegistry() throws {
        let file = try file()
        #expect(file.abi == PluginLibrary.hostABI)
        #expect(Set(file.points.keys) == Set(HookPoint.allCases.map(\.rawValue)))
        let names = file.groups.flatMap(\.names)
        let entries = NameRegistry.training.entries
        #expect(names.map(\.name) == entries.map(\.pattern.description))
        for (name, entry) in zip(names, entries) {
            #expect(name.type == entry.type, "\(name.name)")
            #expect(name.read_at == entry.readable.sorted().map(\.rawValue), "\(name.name)")
            #expect(name.given_at == entry.producible.sorted().map(\.rawValue), "\(name.name)")
            #expect(name.provider == entry.provider.rawValue, "\(name.name)")
            #expect(name.requires == entry.requires?.description, "\(name.name)")
            #expect(name.after == entry.after?.description, "\(name.name)")
            #expect(name.code == entry.code, "\(name.name)")
            let hosts = NameRegistry.Host.allCases.map(\.rawValue)
            #expect(Set(name.hosts ?? hosts) == Set(entry.hosts.map(\.rawValue)), "\(name.name)")
            #expect((name.chained ?? false) == entry.isChained, "\(name.name)")
            #expect((name.shared ?? false) == entry.isShared, "\(name.name)")
            #expect((name.collected ?? false) == entry.isCollected, "\(name.name)")
            #expect(name.cost == entry.cost.rawValue, "\(name.name)")
            #expect(name.doc == entry.doc, "\(name.name)")
            let axes = (try? ValueType(parsing: name.type))?.axes ?? []
            #expect(
                axes.allSatisfy { file.axes[$0] != nil || Int($0) != nil }, "\(name.name) has an axis nobody explains")
        }
    }

    @Test func theCodes() throws {
        let file = try file()
        #expect(Set(file.hosts.keys) == Set(NameRegistry.Host.allCases.map(\.rawValue)))
        #expect(Set(file.codes.keys) == Set(CodeTable.all.map(\.name)))
        for table in CodeTable.all {
            let codes = try #require(file.codes[table.name])
            #expect(codes.doc == table.doc && codes.open ?? false == table.isOpen, "\(table.name)")
            #expect(codes.values.map(\.name) == table.values.map(\.name), "\(table.name)")
            #expect(codes.values.map(\.code) == table.values.map(\.code), "\(table.name)")
            #expect(Set(codes.values.map(\.code)).count == codes.values.count, "\(table.name) has a code twice")
        }
        #expect(BlockScope.allCases.map(\.rawValue) == CodeTable.blockScope.values.map(\.code))
    }

    /// Header, guide and registry are what the generator makes of the file.
    @Test func whatIsGeneratedIsUpToDate() throws {
        let result = try Command.run(
            ["python3", BuildFolder.repository.appendingPathComponent("scripts/generate_names.py").path, "--check"])
        #expect(result.status == 0, "\(result.output)")
    }
}
