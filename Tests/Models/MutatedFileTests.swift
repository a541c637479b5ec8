import Formats
import Foundation
import Models
import Tensors
import TestSupport
import Testing

/// Damaged files of a model folder are read or refused with a sentence; none ends the process.
@Suite struct MutatedFileTests {
    private static let pieces = [
        "{", "}", "[", "]", "\"", ",", "null", "-1", "0", "1e400", "2.5", "99999999999999999999",
        "18446744073709551615",
        "[[[[", "{\"a\":{\"a\":", "\\ud800", "\"BF16\"",
    ].map { Array($0.utf8) }

    @Test(arguments: [
        ("model.safetensors", 4000), ("action_head--checkpoint.safetensors", 4000),
        ("lora_adapter/adapter_model.safetensors", 4000), ("lora_adapter/adapter_config.json", 2000),
        ("config.json", 2000),
    ])
    func isReadOrRefused(_ name: String, _ reach: Int) throws {
        let fixture = try ModelFixture("one-tower-llama-base-lora")
        let path = fixture.file(name)
        let original = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        var generator = RandomGenerator(seed: 7, stream: RandomGenerator.stream(name))
        func below(_ bound: Int) -> Int { Int(generator.next() % UInt64(bound)) }
        var refused = 0
        for _ in 0..<60 {
            var bytes = original
            for _ in 0...below(3) {
                let place = below(min(reach, bytes.count))
                switch below(6) {
                case 0: bytes[place] ^= 1 << UInt8(below(8))
                case 1: bytes.removeSubrange(place..<min(bytes.count, place + 1 + below(9)))
                case 2: bytes.insert(contentsOf: Self.pieces[below(Self.pieces.count)], at: place)
                case 3:
                    bytes.replaceSubrange(place..<min(bytes.count, place + 8), with: Array(repeating: 0xFF, count: 8))
                case 4: bytes = Array(bytes.prefix(max(1, place)))
                default: bytes[place] = UInt8(ascii: "9")
                }
            }
            try Data(bytes).write(to: URL(fileURLWithPath: path))
            if !fixture.complaint().isEmpty { refused += 1 }
        }
        #expect(refused > 20)
    }
}
