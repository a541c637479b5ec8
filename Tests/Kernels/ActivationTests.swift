import Foundation
import Kernels
import Testing

private func gaussianDistribution(_ x: Double) -> Double { 0.5 * erfc(-x / 2.0.squareRoot()) }
private func sigmoid(_ x: Double) -> Double { 1 / (1 + exp(-x)) }

/// A pointwise kernel with its backward pass, the same function in float64, and the accuracy promised.
private struct Activation: Sendable, CustomTestStringConvertible {
    typealias Pointers = [UnsafeMutablePointer<Float>]

    let testDescription: String
    /// Number of inputs of the function.
    let inputs: Int
    let function: @Sendable ([Double]) -> Double
    let tolerance: Tolerance
    let backwardTolerance: Tolerance
    /// Inputs, count, output.
    let forward: @Sendable (Pointers, Int, UnsafeMutablePointer<Float>) -> Void
    /// dy, inputs, output of the forward pass, count, gradients of the inputs, accumulate.
    let backward:
        @Sendable (UnsafeMutablePointer<Float>, Pointers, UnsafeMutablePointer<Float>, Int, Pointers, Int32) -> Void
}

private let activations = [
    Activation(
        testDescription: "gelu", inputs: 1, function: { $0[0] * gaussianDistribution($0[0]) },
        tolerance: Tolerance(relative: 4e-7, absolute: 1e-7),
        backwardTolerance: Tolerance(relative: 4e-7, absolute: 1e-6),
        forward: { ck_gelu($0[0], $1, $2) },
        backward: { ck_gelu_backward($0, $1[0], $3, $4[0], $5) }),
    Activation(
        testDescription: "quick gelu", inputs: 1, function: { $0[0] * sigmoid(1.702 * $0[0]) },
        tolerance: Tolerance(relative: 2e-6, absolute: 1e-7),
        backwardTolerance: Tolerance(relative: 2e-6, absolute: 2e-6),
        forward: { ck_gated($0[0], $1, 1.702, 0, $2) },
        backward: { ck_gated_backward($0, $1[0], $3, 1.702, 0, $4[0], $5) }),
    Activation(
        testDescription: "gelu by tanh", inputs: 1,
        function: { 0.5 * $0[0] * (1 + tanh((2 / Double.pi).squareRoot() * ($0[0] + 0.044715 * pow($0[0], 3)))) },
        tolerance: Tolerance(relative: 4e-6, absolute: 1e-6),
        backwardTolerance: Tolerance(relative: 4e-6, absolute: 4e-6),
        forward: { ck_gated($0[0], $1, 1.5957691, 0.07135482, $2) },
        backward: { ck_gated_backward($0, $1[0], $3, 1.5957691, 0.07135482, $4[0], $5) }),
    Activation(
        testDescription: "relu", inputs: 1, function: { max($0[0], 0) },
        tolerance: .exact, backwardTolerance: .rounding,
        forward: { ck_relu($0[0], $1, $2) },
        backward: { ck_relu_backward($0, $2, $3, $4[0], $5) }),
    Activation(
        testDescription: "swiglu", inputs: 2, function: { $0[0] * sigmoid($0[0]) * $0[1] },
        tolerance: .rounding, backwardTolerance: Tolerance(relative: 4e-7, absolute: 2e-6),
        forward: { ck_swiglu($0[0], $0[1], $1, $2) },
        backward: { ck_swiglu_backward($0, $1[0], $1[1], $3, $4[0], $4[1], $5) }),
]

@Suite("Activations") struct ActivationTests {
    @Test("forward is the float64 function", arguments: activations, lengths)
    private func forward(_ activation: Activation, n: Int) {
        var random = Random(n)
        let inputs = (0..<activation.inputs).map { _ in Guarded(random.floats(n, scale: 5)) }
        let y = Guarded(repeating: .nan, count: n)
        activation.forward(inputs.map(\.pointer), n, y.pointer)
        let reference = (0..<n).map { i in activation.function(inputs.map { Double($0.pointer[i]) }) }
        expectClose(y.values, reference, activation.tolerance, "\(activation.testDescription)(\(n))")
    }

    @Test("backward is the derivative, set or added", arguments: activations, lengths)
    private func backward(_ activation: Activation, n: Int) {
        var random = Random(n + 1)
        let inputs = (0..<activation.inputs).map { _ in Guarded(random.floats(n, scale: 5)) }
        let dy = Guarded(random.floats(n))
        let y = Guarded(repeating: 0, count: n)
        activation.forward(inputs.map(\.pointer), n, y.pointer)
        let derivatives = (0..<n).map { i in
            numericGradient(at: inputs.map { Double($0.pointer[i]) }, of: activation.function)
        }
        for accumulate in [Int32(0), 1] {
            // Without accumulation what was there must not matter, not even a NaN.
            let before: Float = accumulate == 0 ? .nan : 3
            let gradients = inputs.map { _ in Guarded(repeating: before, count: n) }
            activation.backward(
                dy.pointer, inputs.map(\.pointer), y.pointer, n, gradients.map(\.pointer), accumulate)
            for k in 0..<activation.inputs {
                let reference = (0..<n).map { i in
                    derivatives[i][k] * Double(dy.pointer[i]) + (accumulate == 0 ? 0 : 3)
                }
                expectClose(
                    gradients[k].values, reference, activation.backwardTolerance,
                    "\(activation.testDescription) gradient \(k), n \(n), accumulate \(accumulate)")
            }
        }
    }

    @Test("gelu works in place", arguments: lengths)
    func inPlace(n: Int) {
        var random = Random(n)
        let x = random.floats(n, scale: 5)
        let y = Guarded(x)
        ck_gelu(y.pointer, n, y.pointer)
        expectClose(
            y.values, doubles(x).map { $0 * gaussianDistribution($0) }, activations[0].tolerance, "gelu in place")
    }

    @Test("gelu keeps its accuracy over the whole line")
    func geluSweep() {
        let x = Guarded((0...60_000).map { Float($0 - 30_000) / 2_000 })
        let y = Guarded(repeating: 0, count: x.count)
        ck_gelu(x.pointer, x.count, y.pointer)
        // The error of erf implied by y = x (1 + erf) / 2 stays below 5e-7, with one rounding of y itself.
        let erfError = zip(x.values, y.values).map { x, y in
            guard x != 0 else { return 0.0 }
            let exact = Double(x) * gaussianDistribution(Double(x))
            return max(0, abs(Double(y) - exact) - abs(exact) * 0x1p-24) * 2 / abs(Double(x))
        }
        #expect(erfError.max() ?? 1 < 5e-7)
        // And the negative tail is not lost to cancellation, as x (1 + erf(x)) / 2 in float32 would lose it.
        for (x, y) in zip(x.values, y.values) where x < -1 && x > -6 {
            let exact = Double(x) * gaussianDistribution(Double(x))
            #expect(abs(Double(y) / exact - 1) < 1e-5, "gelu(\(x)) is \(y), expected \(exact)")
        }
    }

    @Test("swiglu keeps its relative accuracy over the whole line")
    func sigmoidSweep() {
        let gate = Guarded((1...34_000).map { Float($0 - 17_000) / 200 })
        let up = Guarded(repeating: 1, count: gate.count)
        let y = Guarded(repeating: 0, count: gate.count)
        ck_swiglu(gate.pointer, up.pointer, gate.count, y.pointer)
        expectClose(
            y.values, doubles(gate.values).map { $0 * sigmoid($0) }, Tolerance(relative: 5e-7, absolute: 1e-35),
            "silu sweep")
    }

    @Test("infinities, NaN and huge values")
    func extremes() {
        let x: [Float] = [.infinity, .nan, 1e30, -1e30, 200, -200, 0, -0.0, Float.leastNonzeroMagnitude, -3e38]
        let input = Guarded(x)
        let ones = Guarded(repeating: 1, count: x.count)
        let gelu = Guarded(x)
        let silu = Guarded(x)
        let relu = Guarded(x)
        let gradient = Guarded(x)
        ck_gelu(input.pointer, x.count, gelu.pointer)
        ck_swiglu(input.pointer, ones.pointer, x.count, silu.pointer)
        ck_relu(input.pointer, x.count, relu.pointer)
        ck_gelu_backward(ones.pointer, input.pointer, x.count, gradient.pointer, 0)
        // Vanishing rather than zero: GELU's tail stops falling near 1e-36.
        func vanishes(_ y: Float) -> Bool { abs(y) < 1e-34 }
        for (name, y) in [("gelu", gelu.values), ("silu", silu.values), ("relu", relu.values)] {
            #expect(y[0] == .infinity && y[1].isNaN && y[2] == 1e30 && y[4] == 200, "\(name): \(y)")
            #expect([3, 5, 6, 7, 8, 9].allSatisfy { vanishes(y[$0]) }, "\(name): \(y)")
        }
        let dx = gradient.values
        #expect(dx[0] == 1 && dx[1].isNaN && dx[2] == 1 && dx[4] == 1 && dx[6] == 0.5, "\(dx)")
        #expect([3, 5, 9].allSatisfy { vanishes(dx[$0]) }, "\(dx)")
    }
}
