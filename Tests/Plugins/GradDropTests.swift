import PluginRuntime
import Testing

@Suite struct GradDropTests {
    /// `combined` for gradients [m, n] with weights of 1.
    private func combine(_ gradients: [[Float]], settings: String = "", step: Int64 = 0) throws -> [Float] {
        let composition = try compose("BaselineL1,AnchorVariants,GradDrop" + settings)
        let values = ValueStore()
        let (m, n) = (gradients.count, gradients[0].count)
        let matrix = TestArray(gradients.flatMap { $0 }, shape: [m, n])
        let weights = TestArray([Double](repeating: 1, count: m), shape: [1, m])
        values.set("grads", matrix.view)
        values.set("weights", weights.view)
        values.set("step", step)
        values.set("seed", Int64(3))
        try composition.run(.gradientCombine, values: values, step: Int(step))
        let result = try #require(values.array("combined"))
        #expect(result.shape == [n])
        return withExtendedLifetime((matrix, weights)) { Array(result.floats) }
    }

    @Test func givenDrawsAreUsed() throws {
        let composition = try compose("BaselineL1,AnchorVariants,GradDrop")
        let values = ValueStore()
        let arrays = (
            TestArray([Float(3), 3, -1, -1], shape: [2, 2]), TestArray([1.0, 1], shape: [1, 2]),
            TestArray([0.74, 0.76], shape: [2])
        )
        values.set("grads", arrays.0.view)
        values.set("weights", arrays.1.view)
        values.set("uniforms", arrays.2.view)
        try composition.run(.gradientCombine, values: values, step: 0)
        // The purity of both is 3/4.
        #expect(try #require(values.array("combined")).floats.elementsEqual([3, -1]))
        arrays.2[1] = 1
        let failure = try #require(throws: PluginFailure.self) {
            try composition.run(.gradientCombine, values: values, step: 0)
        }
        #expect(failure.message.contains("uniforms has 1.0"), "\(failure)")
    }

    @Test func agreeingSignsAreSummed() throws {
        #expect(try combine([[1, -2, 0, 3], [0.5, -1, 0, 0]]) == [1.5, -3, 0, 3])
    }

    /// Signs are drawn with the purity as probability: 1/2 (1 + (3 - 1) / 4) = 3/4.
    @Test func signsAreDrawnByPurity() throws {
        let count = 40_000
        let result = try combine([
            [Float](repeating: 3, count: count), [Float](repeating: -1, count: count),
        ])
        #expect(result.allSatisfy { $0 == 3 || $0 == -1 })
        let share = Double(result.filter { $0 == 3 }.count) / Double(count)
        #expect(abs(share - 0.75) < 0.01, "\(share)")
    }

    @Test func drawsDependOnStepAlone() throws {
        let gradients = [[Float]](repeating: [], count: 2).enumerated().map { row, _ in
            (0..<64).map { Float(row == 0 ? 1 : -1) * Float($0 + 1) }
        }
        #expect(try combine(gradients, step: 1) == combine(gradients, step: 1))
        #expect(try combine(gradients, step: 1) != combine(gradients, step: 2))
    }

    @Test func aLeakOfOneKeepsEverything() throws {
        #expect(try combine([[3, -2], [-1, 5]], settings: ":leak=1") == [2, 3])
    }
}
