internal import Formats

extension SHA256 {
    /// Of the one file, or of the hashes of several, one after the other.
    static func digest(of files: TensorFiles) throws -> String {
        let hashes = try files.files.map { try digest(ofFile: $0.path) }
        return hashes.count == 1 ? hashes[0] : digest(of: hashes.joined())
    }
}
