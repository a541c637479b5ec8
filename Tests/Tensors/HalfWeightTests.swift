import Formats
import Tensors
import Testing

/// Products with matrices that stay in 16 bits, against the same values in float32.
@Suite struct HalfWeightTests {
    /// Keeps 16-bit values alive.
    private final class Halves {
        let values: [UInt16]
        let pointer: UnsafePointer<UInt16>
        init(_ values: [UInt16]) {
            self.values = values
            let copy = UnsafeMutablePointer<UInt16>.allocate(capacity: values.count)
            copy.initialize(from: values, count: values.count)
            pointer = UnsafePointer(copy)
        }
        deinit { pointer.deallocate() }
    }

    private static func half(_ value: Float, _ format: HalfValues.Format) -> (bits: UInt16, value: Float) {
        switch format {
        case .bfloat16:
            let bits = UInt16(truncatingIfNeeded: value.bitPattern >> 16)
            return (bits, Float(bitPattern: UInt32(bits) << 16))
        case .float16:
            let rounded = Float16(value)
            return (rounded.bitPattern, Float(rounded))
        }
    }

    /// - Returns: output, gradient of the input, gathered rows.
    private func run(
        _ shape: (m: Int, n: Int, k: Int), _ format: HalfValues.Format, inHalf: Bool
    ) -> (output: [Float], gradient: [Float], rows: [Float]) {
        let (m, n, k) = shape
        let parameters = ParameterSet()
        let x = parameters.declare("x", shape: [m, k], trainable: true)
        let w = parameters.declare("w", shape: [n, k], trainable: false, allowsHalf: true)
        let bias = parameters.declare("b", shape: [n], trainable: false)
        parameters.seal()
        var generator = RandomGenerator(seed: 4)
        for index in 0..<m * k { parameters.values(x)[index] = Float(generator.normal()) }
        for index in 0..<n { parameters.values(bias)[index] = Float(generator.normal()) }
        let weights = (0..<n * k).map { _ in Self.half(Float(generator.normal()), format) }
        let halves = Halves(weights.map(\.bits))
        if inHalf {
            parameters.map(w, to: .half(HalfValues(halves.pointer, format)), owner: halves)
        } else {
            for (index, weight) in weights.enumerated() { parameters.values(w)[index] = weight.value }
        }
        let tape = Tape(parameters: parameters, parallel: Parallel(threads: 2))
        tape.reset(weights: parameters.currentWeights(), recording: true)
        let input = tape.gatherRows(
            (0..<m).map { RowReference(source: 0, row: $0) }, from: [.parameter(x)], columns: k)
        let y = tape.linear(input, weight: w, bias: bias)
        let rows = tape.gatherRows([RowReference(source: 0, row: n - 1)], from: [.parameter(w)], columns: k)
        let gradients = GradientAccumulator(parameters: parameters)
        tape.backward(seeds: [(y, UnsafePointer(y.values))], scale: 1, into: gradients)
        func array(_ pointer: UnsafeMutablePointer<Float>, _ count: Int) -> [Float] {
            Array(UnsafeBufferPointer(start: pointer, count: count))
        }
        return withExtendedLifetime((halves, gradients)) {
            (array(y.values, y.count), array(gradients.values.base, m * k), array(rows.values, k))
        }
    }

    @Test(arguments: [(3, 5, 7), (1, 1, 1), (33, 700, 1030), (5, 2048, 300)] as [(Int, Int, Int)], [true, false])
    func sameAsFloat32(_ shape: (Int, Int, Int), _ isBrain: Bool) {
        let format: HalfValues.Format = isBrain ? .bfloat16 : .float16
        let (half, full) = (run(shape, format, inHalf: true), run(shape, format, inHalf: false))
        #expect(half.rows == full.rows)
        for (a, b) in [(half.output, full.output), (half.gradient, full.gradient)] {
            let scale = b.reduce(Float(1e-12)) { max($0, abs($1)) }
            let worst = zip(a, b).reduce(Float(0)) { max($0, abs($1.0 - $1.1)) }
            #expect(a.count == b.count && worst / scale < 1e-5, "\(shape)")
        }
    }
}
