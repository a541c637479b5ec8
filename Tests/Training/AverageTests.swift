import Foundation
import TestSupport
import Testing
import Training

/// The decays of scripts/reference/average_reference.py.
private struct Reference: Decodable {
    let decay: Double
    let power: Double?
    let decays: [Double]
}

@Test func theDecayOfAnAverageWarmsUpAsInTimmAndDiffusers() throws {
    let cases = try JSONDecoder().decode(
        [Reference].self, from: Data(contentsOf: BuildFolder.fixture("kernels/average.json")))
    #expect(cases.contains { $0.power != nil } && cases.contains { $0.power == nil })
    for reference in cases {
        let settings = AverageSettings(decay: reference.decay, warmupPower: reference.power)
        for (index, decay) in reference.decays.enumerated() {
            #expect(abs(settings.decay(ofUpdate: index + 1) - decay) < 1e-12)
        }
    }
}
