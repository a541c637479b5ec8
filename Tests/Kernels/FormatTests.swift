import Kernels
import Testing

@Suite("Number formats") struct FormatTests {
    /// Float32 bit patterns around every value of a 16-bit format: itself, its neighbours and the midpoints.
    private static func patterns(_ wide: [Float]) -> [Float] {
        var bits: Set<UInt32> = []
        let finite = wide.filter { $0.isFinite }.sorted()
        for value in wide { bits.formUnion([value.bitPattern &- 1, value.bitPattern, value.bitPattern &+ 1]) }
        for (low, high) in zip(finite, finite.dropFirst()) {
            let middle = Float((Double(low) + Double(high)) / 2).bitPattern
            bits.formUnion([middle &- 1, middle, middle &+ 1])
        }
        bits.formUnion([0x7F7F_FFFF, 0xFF7F_FFFF, 0x7F80_0001, 0xFF80_0001, 0x7FFF_FFFF, 0x7F80_0000, 1])
        return bits.map(Float.init(bitPattern:))
    }

    @Test("float16: every value widens exactly, every rounding is to nearest even")
    func half() {
        let all = Guarded((0...UInt16.max).map { $0 })
        let wide = Guarded(repeating: 0, count: all.count)
        ck_f16_to_f32(all.pointer, all.count, wide.pointer)
        for (bits, value) in zip(all.values, wide.values) {
            let expected = Float(Float16(bitPattern: bits))
            #expect(value.bitPattern == expected.bitPattern || (value.isNaN && expected.isNaN), "\(bits) is \(value)")
        }
        let inputs = Guarded(Self.patterns(wide.values))
        let narrow = Guarded([UInt16](repeating: 0, count: inputs.count))
        ck_f32_to_f16(inputs.pointer, inputs.count, narrow.pointer)
        var wrong = 0
        for (value, bits) in zip(inputs.values, narrow.values) {
            let expected = Float16(value)
            let isSame = bits == expected.bitPattern || (Float16(bitPattern: bits).isNaN && expected.isNaN)
            if !isSame { wrong += 1 }
        }
        #expect(wrong == 0, "of \(inputs.count)")
    }

    @Test("bfloat16: every value widens exactly, every rounding is to nearest even")
    func brain() {
        let all = Guarded((0...UInt16.max).map { $0 })
        let wide = Guarded(repeating: 0, count: all.count)
        ck_bf16_to_f32(all.pointer, all.count, wide.pointer)
        #expect(zip(all.values, wide.values).allSatisfy { $1.bitPattern == UInt32($0) << 16 })

        let inputs = Guarded(Self.patterns(wide.values))
        let narrow = Guarded([UInt16](repeating: 0, count: inputs.count))
        ck_f32_to_bf16(inputs.pointer, inputs.count, narrow.pointer)
        var wrong = 0
        for (value, bits) in zip(inputs.values, narrow.values) {
            if value.isNaN {
                if !Float(bitPattern: UInt32(bits) << 16).isNaN { wrong += 1 }
                continue
            }
            let low = UInt16(value.bitPattern >> 16)
            let rest = value.bitPattern & 0xFFFF
            let up = rest > 0x8000 || (rest == 0x8000 && low % 2 == 1)
            if bits != low + (up ? 1 : 0) { wrong += 1 }
        }
        #expect(wrong == 0, "of \(inputs.count)")
    }

    @Test("any length, from an odd address too", arguments: lengths)
    func anyLength(n: Int) {
        let words = (0..<n).map { UInt16(truncatingIfNeeded: $0 &* 2_654_435_761 >> 7) & 0xBFFF }
        let bytes = Guarded(words.flatMap { [UInt8($0 & 0xFF), UInt8($0 >> 8)] } + [0])
        let odd = UnsafeRawPointer(bytes.pointer).assumingMemoryBound(to: UInt16.self)
        let even = Guarded(words)
        for widen in [ck_bf16_to_f32, ck_f16_to_f32] {
            let a = Guarded(repeating: .nan, count: n)
            let b = Guarded(repeating: .nan, count: n)
            widen(even.pointer, n, a.pointer)
            widen(odd, n, b.pointer)
            #expect(a.values == b.values)
        }
        let wide = Guarded(repeating: .nan, count: n)
        let back = Guarded([UInt16](repeating: 0, count: n))
        ck_bf16_to_f32(even.pointer, n, wide.pointer)
        ck_f32_to_bf16(wide.pointer, n, back.pointer)
        #expect(back.values == words)
        ck_f16_to_f32(even.pointer, n, wide.pointer)
        ck_f32_to_f16(wide.pointer, n, back.pointer)
        #expect(back.values == words)
    }
}
