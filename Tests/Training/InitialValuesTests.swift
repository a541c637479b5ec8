import Models
import Tensors
import Testing

/// First values of what a model folder does not hold.
struct InitialValuesTests {
    @Test(arguments: [("fc1", Float(1), Float(8)), ("fc2", 8, 1)])
    func gainAndBandwidthEachScaleOneProprioceptionLayerAlone(layer: String, gain: Float, bandwidth: Float) throws {
        let fixture = try StepFixture()
        let names = fixture.model.parameters.parameters.map(\.name)
        let plain = names.map { fixture.values($0) }
        fixture.model.initialise(seed: 3, proprioGain: gain, proprioBandwidth: bandwidth)
        var scaled: [String] = []
        for (name, before) in zip(names, plain) where fixture.values(name) != before {
            #expect(fixture.values(name) == before.map { $0 * 8 }, "\(name)")
            scaled.append(name)
        }
        #expect(scaled.sorted() == ["proprio_projector.\(layer).bias", "proprio_projector.\(layer).weight"])
    }
}
