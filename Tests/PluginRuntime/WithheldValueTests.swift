import PluginRuntime
import TestSupport
import Testing

/// Values that a step does not have, on purpose: hooks that require them are left out, with all that hangs on them.
@Suite struct WithheldValueTests {
    let plugins: CPlugin

    init() throws {
        plugins = try CPlugin()
        try plugins.build("Source", CPlugin.sum(["x"], "out.source", point: "pre_backward"))
        try plugins.build("Reader", CPlugin.sum(["out.source"], "out.reader"))
        try plugins.build("Optional", CPlugin.sum(["out.source?"], "out.optional"))
        try plugins.build("Gain", CPlugin.sum(["gain.source", "out.source"], "gain.source"))
    }

    private func run(_ composition: Composition, _ values: ValueStore) throws {
        for point in [HookPoint.preBackward, .postStep] { try composition.run(point, values: values, step: 0) }
        values.advanceStep()
    }

    @Test func hooksThatRequireThemAreNotCalled() throws {
        let composition = try plugins.compose("Source,Reader,Optional,Gain")
        let values = ValueStore()
        values.set("gain.source", 10.0)
        values.set("x", 1.0)
        try run(composition, values)
        #expect(values.double("out.source") == 2 && values.double("out.reader") == 3)
        #expect(values.double("out.optional") == 3)
        #expect(values.double("gain.source") == 13)

        values.withhold("x")
        try run(composition, values)
        #expect(values.double("out.source") == nil && values.double("out.reader") == nil)
        #expect(values.isWithheld("out.reader"), "what hangs on a withheld value is withheld too")
        #expect(values.double("out.optional") == 1, "an optional input is absent, and the hook is called")
        #expect(values.double("gain.source") == 13, "what the host provides too stays as it was")

        values.set("x", 2.0)
        try run(composition, values)
        #expect(values.double("out.source") == 3 && values.double("out.reader") == 4)
        #expect(values.double("gain.source") == 17, "1 + 13 + 3")
        #expect(!values.isWithheld("x") && !values.isWithheld("out.reader"))
    }

    /// A value that is missing without having been withheld is a mistake of the host, and stays one.
    @Test func aMissingValueIsStillAnError() throws {
        let composition = try plugins.compose("Source")
        let failure = try #require(throws: PluginFailure.self) {
            try composition.run(.preBackward, values: ValueStore(), step: 0)
        }
        #expect(failure.description.contains("the host has no value for its input 'x: f64'"), "\(failure)")
    }

    @Test func aSkippedPointGivesNothing() throws {
        let composition = try plugins.compose("Source,Reader,Gain")
        let values = ValueStore()
        values.set("gain.source", 10.0)
        values.set("x", 1.0)
        try run(composition, values)
        composition.skip(.postStep, values: values)
        #expect(values.double("out.reader") == nil && values.double("gain.source") == 13)
        #expect(values.double("out.source") == 2, "another point's values stay")
    }
}
