internal import Foundation

/// Reads a JSON file, in Python's sense: NaN and infinities are numbers.
///
/// - Parameter failure: what the message says of a file that does not fit, such as "is not a features.json".
/// - Throws: an error that names the file, and where in it the fault is.
package func decodeJSON<Value: Decodable>(
    _ type: Value.Type, contentsOf path: String, or failure: String
) throws(FileError) -> Value {
    let bytes = try RandomAccessFile.contents(of: path)
    do {
        return try PythonJSON.decoder().decode(type, from: PythonJSON.conforming(Data(bytes)))
    } catch {
        throw FileError(path: path, "\(failure): \(jsonReason(error, in: bytes))")
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
        PythonJSON.fault(in: Data(bytes))
            ?? "\(path(context)): \(context.debugDescription.trimmingCharacters(in: CharacterSet(charactersIn: ".")))"
    default: error.localizedDescription
    }
}
