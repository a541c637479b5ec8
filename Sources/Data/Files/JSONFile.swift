internal import Foundation

/// Reads a JSON file.
///
/// - Parameter failure: what the message says of a file that does not fit, such as "is not a features.json".
/// - Throws: an error that names the file, and where in it the fault is.
func decodeJSON<Value: Decodable>(
    _ type: Value.Type, contentsOf path: String, or failure: String
) throws(DataError) -> Value {
    let bytes = try RandomAccessFile.contents(of: path)
    do {
        return try JSONDecoder().decode(type, from: Data(bytes))
    } catch {
        throw DataError("\(path): \(failure): \(jsonReason(error, in: bytes)).")
    }
}

/// The part of a JSON decoding error that helps: where and what, without Foundation's nesting.
///
/// - Parameter bytes: what was decoded, to find where it is no JSON.
package func jsonReason(_ error: any Error, in bytes: [UInt8]) -> String {
    func path(_ context: DecodingError.Context) -> String {
        let keys = context.codingPath.map { $0.intValue.map { "[\($0)]" } ?? $0.stringValue }
        return keys.isEmpty ? "the top level" : keys.joined(separator: ".").replacingOccurrences(of: ".[", with: "[")
    }
    return switch error {
    case DecodingError.keyNotFound(let key, let context): "\(path(context)) has no \"\(key.stringValue)\""
    case DecodingError.typeMismatch(let type, let context): "\(path(context)) is not a \(type)"
    case DecodingError.valueNotFound(let type, let context): "\(path(context)) is null, expected \(type)"
    case DecodingError.dataCorrupted(let context):
        jsonFault(bytes)
            ?? "\(path(context)): \(context.debugDescription.trimmingCharacters(in: CharacterSet(charactersIn: ".")))"
    default: error.localizedDescription
    }
}

/// What is wrong with text that is no JSON, and in which line; nil when it is JSON.
///
/// On Linux the decoder keeps the place to itself; the older parser tells the byte's index.
private func jsonFault(_ bytes: [UInt8]) -> String? {
    do {
        _ = try JSONSerialization.jsonObject(with: Data(bytes), options: .fragmentsAllowed)
        return nil
    } catch {
        let found = (error as NSError).userInfo[NSDebugDescriptionErrorKey] as? String ?? error.localizedDescription
        let text = found.trimmingCharacters(in: CharacterSet(charactersIn: "."))
        guard let place = text.firstMatch(of: /around character (\d+)/), let index = Int(place.1) else {
            return text.contains("end of file") ? "\(text), after \(bytes.count) bytes" : text
        }
        let before = bytes.prefix(index)
        let line = before.count { $0 == UInt8(ascii: "\n") } + 1
        let column = before.count - (before.lastIndex(of: UInt8(ascii: "\n")) ?? -1)
        return text.replacing(place.0, with: "at line \(line), column \(column)")
    }
}
