package import Foundation

/// JSON as Python's `json` writes and reads it: also with the bare words NaN, Infinity and -Infinity, which JSON does not have.
package enum PythonJSON {
    /// The same text with those words as strings, which ``decoder()`` takes for numbers again. Strings are left alone.
    package static func conforming(_ data: Data) -> Data {
        let words = ["NaN", "-Infinity", "Infinity"].map { Array($0.utf8) }
        let initials = Set(words.map { $0[0] })
        let bytes = [UInt8](data)
        var result: [UInt8] = []
        var (index, copied, isInString) = (0, 0, false)
        while index < bytes.count {
            let byte = bytes[index]
            if isInString {
                if byte == UInt8(ascii: "\\") { index += 1 }
                isInString = byte != UInt8(ascii: "\"")
            } else if byte == UInt8(ascii: "\"") {
                isInString = true
            } else if initials.contains(byte), let word = words.first(where: { bytes[index...].starts(with: $0) }) {
                result += bytes[copied..<index] + [UInt8(ascii: "\"")] + word + [UInt8(ascii: "\"")]
                index += word.count
                copied = index
                continue
            }
            index += 1
        }
        return copied == 0 ? data : Data(result + bytes[copied...])
    }

    /// Decodes what ``conforming(_:)`` returns.
    package static func decoder() -> JSONDecoder {
        let decoder = JSONDecoder()
        decoder.nonConformingFloatDecodingStrategy = .convertFromString(
            positiveInfinity: "Infinity", negativeInfinity: "-Infinity", nan: "NaN")
        return decoder
    }

    /// What is wrong with text that is no JSON, and in which line; nil when it is JSON.
    ///
    /// On Linux the decoder keeps the place to itself; the older parser tells the byte's index.
    package static func fault(in data: Data) -> String? {
        do {
            _ = try JSONSerialization.jsonObject(with: conforming(data), options: .fragmentsAllowed)
            return nil
        } catch {
            let found = (error as NSError).userInfo[NSDebugDescriptionErrorKey] as? String ?? error.localizedDescription
            let text = found.trimmingCharacters(in: CharacterSet(charactersIn: "."))
            guard let place = text.firstMatch(of: /around character (\d+)/), let index = Int(place.1) else {
                return text.contains("end of file") ? "\(text), after \(data.count) bytes" : text
            }
            let before = data.prefix(index)
            let line = before.count { $0 == UInt8(ascii: "\n") } + 1
            let column = before.count - (before.lastIndex(of: UInt8(ascii: "\n")) ?? -1)
            return text.replacing(place.0, with: "at line \(line), column \(column)")
        }
    }
}
