internal import CCrypto

/// SHA-256 (FIPS 180-4) of what is given piece by piece, by libcrypto, which uses the processor's instructions: files of a
/// model are gigabytes. PluginRuntime has its own for the few small files it knows by their hash, since other hosts' processes
/// may have another libcrypto.
package struct SHA256: ~Copyable {
    private let context: OpaquePointer?

    package init() {
        context = EVP_MD_CTX_new()
        EVP_DigestInit_ex(context, EVP_sha256(), nil)
    }

    deinit { EVP_MD_CTX_free(context) }

    package mutating func add(_ bytes: UnsafeRawBufferPointer) {
        EVP_DigestUpdate(context, bytes.baseAddress, bytes.count)
    }

    package mutating func add(_ bytes: [UInt8]) { bytes.withUnsafeBytes { add($0) } }

    /// 64 lower-case hexadecimal digits.
    package consuming func digest() -> String {
        var digest = [UInt8](repeating: 0, count: 32)
        EVP_DigestFinal_ex(context, &digest, nil)
        return digest.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    package static func digest(of text: String) -> String {
        var hash = SHA256()
        hash.add(Array(text.utf8))
        return hash.digest()
    }

    /// Of a whole file.
    package static func digest(ofFile path: String) throws(FileError) -> String {
        let file = try RandomAccessFile(path: path)
        var hash = SHA256()
        for start in stride(from: 0, to: file.size, by: 1 << 20) {
            hash.add(try file.bytes(at: start, count: min(1 << 20, file.size - start)))
        }
        return hash.digest()
    }
}
