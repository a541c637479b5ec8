import Foundation
import Kernels
import TestSupport
import Testing

/// One run of `torch.optim.AdamW`, written by scripts/reference/adamw_reference.py.
private struct TorchRun: Decodable, Sendable, CustomTestStringConvertible {
    struct State: Decodable, Sendable {
        let step: Int
        let p, m, v: [Double]
    }

    let name: String
    let lr, beta1, beta2, eps, weightDecay: Float
    let weights: [Float]
    let p: [Float]
    /// Per step, per gradient.
    let gradients: [[[Float]]]
    let after: [State]

    var testDescription: String { name }

    static func all() throws -> [TorchRun] {
        let file = BuildFolder.fixture("kernels/adamw.json")
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode([TorchRun].self, from: Data(contentsOf: file))
    }
}

private func settings(
    step: Int, lr: Float, beta1: Float = 0.9, beta2: Float = 0.999, eps: Float = 1e-8, decay: Float = 0.01
) -> ck_adamw_settings {
    ck_adamw_settings(
        lr: lr, beta1: beta1, beta2: beta2, eps: eps, weight_decay: decay,
        bias_correction1: Float(1 - pow(Double(beta1), Double(step))),
        bias_correction2: Float(1 - pow(Double(beta2), Double(step))))
}

@Suite("AdamW") struct AdamWTests {
    @Test("matches torch.optim.AdamW", arguments: try TorchRun.all())
    fileprivate func torch(run: TorchRun) {
        let n = run.p.count
        let p = Guarded(run.p)
        let m = Guarded(repeating: 0, count: n)
        let v = Guarded(repeating: 0, count: n)
        for step in 1...run.gradients.count {
            let gradients = run.gradients[step - 1].map { Guarded($0) }
            var s = settings(
                step: step, lr: run.lr, beta1: run.beta1, beta2: run.beta2, eps: run.eps, decay: run.weightDecay)
            ck_adamw(
                p.pointer, m.pointer, v.pointer, gradients.map { UnsafePointer($0.pointer) }, run.weights,
                gradients.count, n, &s)
            for state in run.after where state.step == step {
                expectClose(p.values, state.p, Tolerance(relative: 5e-7, absolute: 5e-7), "p after \(step)")
                expectClose(m.values, state.m, Tolerance(relative: 2e-6, absolute: 1e-6), "m after \(step)")
                expectClose(v.values, state.v, Tolerance(relative: 2e-6, absolute: 1e-9), "v after \(step)")
            }
        }
        // The reference moved: agreeing on parameters that stand still would prove nothing.
        #expect(zip(p.values, run.p).contains { abs($0 - $1) > 1e-3 })
    }

    @Test("any number of gradients, any length", arguments: Array(0...8), lengths)
    func counts(count: Int, n: Int) {
        var random = Random(n * 10 + count)
        let initial = random.floats(n)
        let m0 = random.floats(n)
        let v0 = random.floats(n).map(abs)
        let gradients = (0..<count).map { _ in Guarded(random.floats(n)) }
        let weights = random.floats(count)
        let p = Guarded(initial)
        let m = Guarded(m0)
        let v = Guarded(v0)
        var s = settings(step: 3, lr: 0.01)
        ck_adamw(
            p.pointer, m.pointer, v.pointer, gradients.map { UnsafePointer($0.pointer) }, weights, count, n, &s)

        let b1 = Double(s.beta1)
        let b2 = Double(s.beta2)
        let lr = Double(s.lr)
        var expected: (p: [Double], m: [Double], v: [Double]) = ([], [], [])
        for i in 0..<n {
            let g = (0..<count).reduce(0) { $0 + Double(weights[$1]) * Double(gradients[$1].pointer[i]) }
            let mi = b1 * Double(m0[i]) + (1 - b1) * g
            let vi = b2 * Double(v0[i]) + (1 - b2) * g * g
            let denominator = (vi / Double(s.bias_correction2)).squareRoot() + Double(s.eps)
            let decayed = Double(initial[i]) * (1 - lr * Double(s.weight_decay))
            expected.p.append(decayed - lr * mi / Double(s.bias_correction1) / denominator)
            expected.m.append(mi)
            expected.v.append(vi)
        }
        expectClose(p.values, expected.p, Tolerance(relative: 1e-6, absolute: 1e-6), "p")
        expectClose(m.values, expected.m, Tolerance(relative: 1e-6, absolute: 1e-6), "m")
        expectClose(v.values, expected.v, Tolerance(relative: 1e-6, absolute: 1e-9), "v")
    }

    @Test("a gradient with weight 0 is not read")
    func zeroWeight() {
        var random = Random(1)
        let n = 33
        let gradient = Guarded(random.floats(n))
        let initial = random.floats(n)
        // The end of a guarded buffer is the start of an unreadable page.
        let unreadable = UnsafePointer(gradient.pointer + n)
        let one = (Guarded(initial), Guarded(repeating: 0, count: n), Guarded(repeating: 0, count: n))
        let three = (Guarded(initial), Guarded(repeating: 0, count: n), Guarded(repeating: 0, count: n))
        var s = settings(step: 1, lr: 0.01)
        ck_adamw(one.0.pointer, one.1.pointer, one.2.pointer, [UnsafePointer(gradient.pointer)], [0.5], 1, n, &s)
        ck_adamw(
            three.0.pointer, three.1.pointer, three.2.pointer,
            [unreadable, UnsafePointer(gradient.pointer), unreadable], [0, 0.5, -0.0], 3, n, &s)
        #expect(one.0.values == three.0.values && one.1.values == three.1.values && one.2.values == three.2.values)
    }
}

/// `torch.optim.swa_utils.AveragedModel`, written by scripts/reference/average_reference.py.
private struct TorchAverage: Decodable, Sendable, CustomTestStringConvertible {
    let name: String
    let decays: [Double]
    let initial: [Float]
    /// Per step.
    let parameters: [[Float]]
    let averages: [[Double]]

    var testDescription: String { name }

    static func all() throws -> [TorchAverage] {
        try JSONDecoder().decode(
            [TorchAverage].self, from: Data(contentsOf: BuildFolder.fixture("kernels/average.json")))
    }
}

@Suite("Moving average") struct AverageTests {
    @Test("matches torch.optim.swa_utils.AveragedModel", arguments: try TorchAverage.all())
    fileprivate func torch(run: TorchAverage) {
        let average = Guarded(run.initial)
        for (step, values) in run.parameters.enumerated() {
            ck_average(average.pointer, Guarded(values).pointer, Float(run.decays[step]), values.count)
            expectClose(
                average.values, run.averages[step], Tolerance(relative: 2e-7, absolute: 2e-7), "step \(step + 1)")
        }
        #expect(zip(average.values, run.initial).contains { abs($0 - $1) > 1e-4 })
    }

    @Test("any length; exact at both ends and where nothing changes", arguments: lengths)
    func ends(n: Int) {
        var random = Random(n)
        let (start, values) = (random.floats(n), random.floats(n))
        func result(_ decay: Float, _ start: [Float]) -> [Float] {
            let average = Guarded(start)
            ck_average(average.pointer, Guarded(values).pointer, decay, n)
            return average.values
        }
        #expect(result(0, start) == values)
        #expect(result(1, start) == start)
        #expect(result(0.9, values) == values && result(0.3, values) == values)
        let expected = zip(start, values).map { 0.75 * Double($0) + 0.25 * Double($1) }
        expectClose(result(0.75, start), expected, Tolerance(relative: 2e-7, absolute: 2e-7), "average")
    }
}

@Suite("Gradient products") struct GradientProductTests {
    @Test("Gram matrix of any number of gradients", arguments: Array(0...8), lengths + [2047, 4100])
    func gram(count: Int, n: Int) {
        var random = Random(n * 10 + count)
        let gradients = (0..<count).map { _ in Guarded(random.floats(n)) }
        let gram = Guarded([Double](repeating: .nan, count: count * count))
        ck_gram_f64(gradients.map { UnsafePointer($0.pointer) }, count, n, gram.pointer)
        for i in 0..<count {
            for j in 0..<count {
                let a = doubles(gradients[i].values)
                let b = doubles(gradients[j].values)
                let error = abs(gram.pointer[i * count + j] - inner(a, b))
                // The bound for adding n terms one after another, which is what the reference does.
                #expect(
                    error <= Double(n) * 0x1p-53 * inner(a.map(abs), b.map(abs)), "entry \(i), \(j) of \(count), n \(n)"
                )
                #expect(gram.pointer[i * count + j] == gram.pointer[j * count + i])
            }
        }
        if count > 1 {
            let dot = ck_dot_f64(gradients[0].pointer, gradients[1].pointer, n)
            #expect(abs(dot - gram.pointer[1]) <= 1e-12 * Double(n + 1))
        }
    }

    @Test("the sign of a tiny cosine survives", arguments: [Float(1), -1], [2, 3, 4])
    func tinyCosine(sign: Float, count: Int) {
        // b is a rotated by a quarter turn pair by pair, orthogonal exactly; the last element alone decides. Float32
        // sums of these products err by far more than it.
        var random = Random(7)
        let n = 100_001
        var a = random.floats(n, scale: 100)
        var b = (0..<n).map { i in i + 1 == n ? 0 : i % 2 == 0 ? a[i + 1] : -a[i - 1] }
        a[n - 1] = 1e-3
        b[n - 1] = sign * 1e-3
        let x = Guarded(a)
        let y = Guarded(b)
        let expected = Double(1e-3 as Float) * Double(sign * 1e-3)
        #expect(abs(ck_dot_f64(x.pointer, y.pointer, n) / expected - 1) < 1e-2)
        let gram = Guarded([Double](repeating: .nan, count: count * count))
        var gradients = [UnsafePointer<Float>](repeating: UnsafePointer(x.pointer), count: count)
        gradients[1] = UnsafePointer(y.pointer)
        ck_gram_f64(gradients, count, n, gram.pointer)
        #expect(abs(gram.pointer[1] / expected - 1) < 1e-2)
    }

    @Test("finiteness", arguments: lengths + [4095, 4096, 9001])
    func finite(n: Int) {
        var random = Random(n)
        let x = Guarded(random.floats(n, scale: 1e38))
        #expect(ck_all_finite(x.pointer, n) == 1)
        for position in Set([0, n / 2, n - 1]) where position >= 0 && position < n {
            for poison in [Float.nan, .infinity, -.infinity] {
                let kept = x.pointer[position]
                x.pointer[position] = poison
                #expect(ck_all_finite(x.pointer, n) == 0, "\(poison) at \(position) of \(n)")
                x.pointer[position] = kept
            }
        }
    }
}
