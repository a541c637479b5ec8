import Foundation
import PluginRuntime
import TestSupport
import Testing

/// What holds for every plugin that ships.
@Suite struct ShippedPluginTests {
    static let names = [
        "AEGIS", "AGEM", "ActionAnchor", "AlignedMTL", "AnchorVariants", "AnswerLoss",
        "AugmentedLagrangian", "BaselineL1", "CAGrad", "CRaFTDual", "CRaFTProjection", "ClipGradNorm",
        "CoTraining", "ConFIG", "Constant", "DWA", "DualProj", "EWC", "EarlyStop", "FAMO", "FairGrad",
        "FixedMultiplier", "GeometricMean", "GradDrop", "GradNorm", "GradVac", "IMTLG", "IMTLL",
        "KnowledgeInsulation", "L2SP", "LayerRates", "MGDA", "Mean", "MoCo", "MoDo", "MultiplierSchedule",
        "NashMTL", "PCGrad", "ProbeTokens", "RLW", "Replay", "STCH", "Sum", "UPGrad", "UW",
        "UnbiasedConflict", "nuPI",
    ]

    @Test(arguments: names)
    func exportsOneSymbol(name: String) throws {
        let symbols = try Command.run(["nm", "-D", "--defined-only", BuildFolder.plugin(name)]).output
        let lines = symbols.split(separator: "\n")
        #expect(lines.count == 1 && lines[0].hasSuffix(" T craft_plugin_entry"), "\(symbols)")
    }

    /// Foundation would make a plugin a thousand times larger where the runtime is linked statically.
    @Test(arguments: names)
    func doesWithoutFoundation(name: String) throws {
        let needed = try Command.run(["readelf", "-d", BuildFolder.plugin(name)]).output
        #expect(!needed.contains("Foundation"), "\(needed)")
    }

    @Test(arguments: names)
    func readmeExplainsEverySetting(name: String) throws {
        let library = try PluginLibrary(path: BuildFolder.plugin(name))
        let readme = try String(
            contentsOf: BuildFolder.repository.appendingPathComponent("Plugins/\(name)/README.md"), encoding: .utf8)
        for parameter in library.parameters {
            #expect(readme.contains("| `\(parameter.name)` | `\(parameter.defaultText)` |"), "\(parameter.name)")
            #expect(!parameter.doc.isEmpty)
        }
        #expect(library.id == "craft.\(name)")
        let prose = readme.replacing("\n", with: " ").lowercased()
        #expect(!library.reference.isEmpty)
        #expect(prose.contains("reference: \(library.reference.lowercased())"), "\(library.reference)")
        let lines = library.formula.split(separator: "\n")
        #expect(!lines.isEmpty && lines.allSatisfy { readme.contains($0) }, "\(library.formula)")
    }

    @Test func searchFindsThem() {
        let found = PluginSearch.build.available().map(\.name)
        #expect(Self.names.allSatisfy { found.contains($0) }, "\(found)")
    }

    /// The whole method: who feeds whom.
    @Test func dataFlowOfTheMethod() throws {
        let composition = try compose("CRaFTDual:budget=0.05,CRaFTProjection,AnchorVariants,BaselineL1")
        #expect(composition.objectives == ["retention", "action"])
        #expect(composition.reads("gram") && composition.reads("anchor.AnchorVariants.visual"))
        let combine = try #require(composition.plan.points.first { $0.point == .gradientCombine })
        let lambda = try #require(combine.hooks[0].reads.first { $0.name == "lambda.retention" })
        #expect(lambda.counterparts == ["CRaFTDual"])
        #expect(composition.plugins[0].settings["budget"] == "0.05")
        #expect(try composition.saveState().count == 4)

        let baseline = try compose("BaselineL1")
        #expect(!baseline.reads("gram"))
        #expect(
            HookPoint.allCases.flatMap { baseline.resolvedReads(at: $0) } == ["predicted_actions", "target_actions"])
    }

    /// Any part of the method is a run: the rows of an ablation table.
    @Test(arguments: [
        "BaselineL1", "BaselineL1,AnchorVariants", "BaselineL1,AnchorVariants,CRaFTDual",
        "BaselineL1,AnchorVariants,CRaFTProjection", "BaselineL1,CRaFTProjection",
        "BaselineL1,AnchorVariants,CRaFTProjection,CRaFTDual",
    ])
    func subsets(list: String) throws { _ = try compose(list) }

    /// Strategies, objectives and multiplier rules combine.
    @Test(arguments: [
        "BaselineL1,AnchorVariants,nuPI,UPGrad", "BaselineL1,AnchorVariants,AugmentedLagrangian,DualProj,ClipGradNorm",
        "BaselineL1,AnchorVariants,DWA,PCGrad:scope=layer", "BaselineL1,AnchorVariants,MultiplierSchedule,CAGrad",
    ])
    func strategiesCombine(list: String) throws { _ = try compose(list) }

    /// A strategy that shares code with others needs nothing but the SDK either.
    @Test func strategyFolderBuildsAlone() throws {
        let folder = try TemporaryFolder()
        let script = BuildFolder.repository.appendingPathComponent("scripts/install-sdk.sh").path
        let installed = try Command.run([script, folder.path("sdk")])
        try #require(installed.status == 0, "\(installed.output)")
        let copy = folder.path("UPGrad")
        try FileManager.default.copyItem(
            at: BuildFolder.repository.appendingPathComponent("Plugins/UPGrad"), to: URL(fileURLWithPath: copy))
        try? FileManager.default.removeItem(atPath: "\(copy)/.build")
        let built = try Command.run(
            ["swift", "build", "-c", "release", "--package-path", copy], environment: ["CRAFT_SDK": folder.path("sdk")])
        try #require(built.status == 0, "\(built.output)")
        let strategy = try Strategy("\(copy)/.build/release/libUPGrad.so")
        #expect(relativeError(try strategy.weights([1, -1, -1, 2]), [1, 0.75]) <= 1e-15)
        let symbols = try Command.run(["nm", "-D", "--defined-only", "\(copy)/.build/release/libUPGrad.so"]).output
        #expect(symbols.split(separator: "\n").count == 1, "\(symbols)")
    }

    /// A folder copied elsewhere builds with nothing but the SDK, and its library runs in this host.
    @Test func folderBuildsAlone() throws {
        let folder = try TemporaryFolder()
        let script = BuildFolder.repository.appendingPathComponent("scripts/install-sdk.sh").path
        let installed = try Command.run([script, folder.path("sdk")])
        try #require(installed.status == 0, "\(installed.output)")
        let copy = folder.path("CRaFTDual")
        try FileManager.default.copyItem(
            at: BuildFolder.repository.appendingPathComponent("Plugins/CRaFTDual"), to: URL(fileURLWithPath: copy))
        try? FileManager.default.removeItem(atPath: "\(copy)/.build")
        let built = try Command.run(
            ["swift", "build", "-c", "release", "--package-path", copy], environment: ["CRAFT_SDK": folder.path("sdk")])
        try #require(built.status == 0, "\(built.output)")

        let composition = try compose("AnchorVariants,\(copy)/.build/release/libCRaFTDual.so:init=0.5")
        let values = ValueStore()
        values.set("loss.retention", 1.1)
        values.set("lambda.retention", 0.5)
        try composition.run(.postStep, values: values, step: 0)
        #expect(values.double("lambda.retention") == 0.51)
        #expect(composition.plugins[1].path.hasPrefix(folder.url.path))
    }
}
