import Kernels
import Testing

@Suite("Images") struct ImageTests {
    /// A resampling from `inputs` to `outputs` positions whose windows stick out at the end, where their weights are 0.
    private struct Filter {
        let taps: Int
        let start: Guarded<Int32>
        let weights: Guarded<Float>

        init(inputs: Int, outputs: Int, taps: Int, _ random: inout Random) {
            self.taps = taps
            let start = (0..<outputs).map { Int32($0 * inputs / outputs) }
            let values = random.floats(outputs * taps)
            self.start = Guarded(start)
            weights = Guarded(values.indices.map { Int(start[$0 / taps]) + $0 % taps < inputs ? values[$0] : 0 })
        }

        func apply(_ output: Int, _ input: (Int) -> Double) -> Double {
            (0..<taps).reduce(0) { sum, k in
                let weight = Double(weights.pointer[output * taps + k])
                return weight == 0 ? sum : sum + weight * input(Int(start.pointer[output]) + k)
            }
        }
    }

    @Test("horizontal", arguments: [1, 2, 3, 4, 5], [(1, 1, 1), (7, 3, 4), (16, 40, 2), (33, 15, 7)])
    func horizontal(channels: Int, shape: (input: Int, output: Int, taps: Int)) {
        for lines in [0, 1, 2, 5] {
            var random = Random(lines + channels)
            let filter = Filter(inputs: shape.input, outputs: shape.output, taps: shape.taps, &random)
            let input = Guarded(random.floats(lines * shape.input * channels))
            let output = Guarded(repeating: .nan, count: lines * shape.output * channels)
            ck_resample_horizontal(
                input.pointer, lines, shape.input, channels, filter.start.pointer,
                filter.weights.pointer, shape.taps, shape.output, output.pointer)
            let reference = output.values.indices.map { i in
                let line = i / (shape.output * channels)
                let o = i / channels % shape.output
                let c = i % channels
                return filter.apply(o) { Double(input.pointer[(line * shape.input + $0) * channels + c]) }
            }
            expectClose(output.values, reference, Tolerance(relative: 1e-6, absolute: 3e-6), "\(lines) lines")
        }
    }

    @Test("vertical", arguments: lengths, [(1, 1, 1), (7, 3, 4), (16, 40, 2), (33, 15, 7)])
    func vertical(rowLength: Int, shape: (input: Int, output: Int, taps: Int)) {
        var random = Random(rowLength)
        let filter = Filter(inputs: shape.input, outputs: shape.output, taps: shape.taps, &random)
        let input = Guarded(random.floats(shape.input * rowLength))
        let output = Guarded(repeating: .nan, count: shape.output * rowLength)
        ck_resample_vertical(
            input.pointer, rowLength, filter.start.pointer, filter.weights.pointer, shape.taps,
            shape.output, output.pointer)
        let reference = output.values.indices.map { i in
            filter.apply(i / rowLength) { Double(input.pointer[$0 * rowLength + i % rowLength]) }
        }
        expectClose(output.values, reference, Tolerance(relative: 1e-6, absolute: 3e-6), "rows of \(rowLength)")
    }

    @Test("bytes to floats", arguments: lengths)
    func bytes(n: Int) {
        let x = Guarded((0..<n).map { UInt8(truncatingIfNeeded: $0 * 37 + 255) })
        let y = Guarded(repeating: .nan, count: n)
        ck_u8_to_f32(x.pointer, 1 / 255, n, y.pointer)
        #expect(y.values == x.values.map { 1 / 255 * Float($0) })
        if n > 0 { #expect(y.pointer[0] == 1) }
    }
}
