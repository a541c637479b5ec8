internal import CCrypto
internal import Formats
internal import Foundation
internal import Models

/// SHA-256 of files.
enum FileHash {
    /// Of the one file, or of the hashes of several, one after the other.
    static func sha256(_ files: TensorFiles) throws -> String {
        let hashes = try files.files.map { try sha256($0.path) }
        return hashes.count == 1 ? hashes[0] : sha256(Data(hashes.joined().utf8))
    }

    private static func sha256(_ data: Data) -> String {
        var digest = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var length: UInt32 = 0
        data.withUnsafeBytes { _ = EVP_Digest($0.baseAddress, $0.count, &digest, &length, EVP_sha256(), nil) }
        return hexadecimal(digest.prefix(Int(length)))
    }

    private static func hexadecimal(_ bytes: ArraySlice<UInt8>) -> String {
        bytes.map { byte in
            let text = String(byte, radix: 16)
            return text.count == 1 ? "0" + text : text
        }.joined()
    }

    static func sha256(_ path: String) throws -> String {
        guard let file = FileHandle(forReadingAtPath: path) else {
            throw TrainingError(.missing, "\(path): cannot be read")
        }
        defer { try? file.close() }
        guard let context = EVP_MD_CTX_new() else { throw TrainingError(.memory, "\(path): no memory to hash it") }
        defer { EVP_MD_CTX_free(context) }
        EVP_DigestInit_ex(context, EVP_sha256(), nil)
        while let chunk = try file.read(upToCount: 1 << 20), !chunk.isEmpty {
            chunk.withUnsafeBytes { _ = EVP_DigestUpdate(context, $0.baseAddress, $0.count) }
        }
        var digest = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var length: UInt32 = 0
        EVP_DigestFinal_ex(context, &digest, &length)
        return hexadecimal(digest.prefix(Int(length)))
    }
}
