internal import CCraftMPI
internal import Formats
internal import Glibc

/// Ranks over MPI: `libcraft_mpi.so`, opened at run time (`Sources/CLibraries/CCraftMPI/craft_mpi.h`).
package final class MPICollective: Collective {
    package let rank: Int
    package let size: Int
    /// The MPI library's name and version.
    package let carrier: String
    private let functions: craft_mpi_functions

    static let fileName = "libcraft_mpi.so"
    /// Seconds after which a rank that does not come is taken for hanging; `CRAFT_STALL_SECONDS`, 0 waits for ever.
    private static let stallSeconds = getenv("CRAFT_STALL_SECONDS").flatMap { Double(String(cString: $0)) } ?? 60

    /// - Parameter path: of the library.
    package init(path: String) throws(CollectiveError) {
        UserNamespace.cureIfNeeded()
        // Between two hosts, the default of Open MPI's TCP lets data go one way at a time.
        setenv("OMPI_MCA_btl_tcp_flags", "1", 0)
        guard let handle = dlopen(path, RTLD_NOW | RTLD_GLOBAL), let symbol = dlsym(handle, "craft_mpi") else {
            let reason = dlerror().map { String(cString: $0) } ?? "it is not craft's"
            throw CollectiveError(
                .badLibrary,
                "\(path): cannot be used (\(reason)). Build it against the MPI library of the launcher: "
                    + MPILibrary.buildCommand)
        }
        typealias Table = @convention(c) () -> UnsafePointer<craft_mpi_functions>?
        guard let table = unsafeBitCast(symbol, to: Table.self)(), table.pointee.abi == CRAFT_MPI_ABI else {
            throw CollectiveError(
                .badLibrary, "\(path): was built for another craft. Build it again: \(MPILibrary.buildCommand)")
        }
        functions = table.pointee
        var (rank, size): (Int32, Int32) = (0, 1)
        let failed = functions.start(Self.stallSeconds, &rank, &size) != 0
        (self.rank, self.size) = (Int(rank), Int(size))
        carrier = functions.library().map { String(cString: $0).prefix { $0 != "," } }.map(String.init) ?? "MPI"
        if failed { throw failure }
    }

    private var failure: CollectiveError {
        CollectiveError(.failed, functions.error().map { String(cString: $0) } ?? "MPI failed")
    }

    package func gather(
        _ bytes: [UInt8], phase: String, patience: Double?
    ) throws(CollectiveError) -> [[UInt8]] {
        var lengths = [UInt64](repeating: 0, count: size)
        var all: UnsafeRawPointer?
        guard functions.gather(phase, patience ?? 0, bytes, UInt64(bytes.count), &lengths, &all) == 0 else {
            throw failure
        }
        var start = 0
        return lengths.map { length in
            defer { start += Int(length) }
            guard let all, length > 0 else { return [] }
            return Array(UnsafeRawBufferPointer(start: all + start, count: Int(length)))
        }
    }

    package func reduce(
        _ values: UnsafeMutablePointer<Float>, _ segments: [Segment], phase: String
    ) throws(CollectiveError) {
        guard functions.reduce(phase, values, segments.map(\.mpi), Int64(segments.count)) == 0 else { throw failure }
    }

    package func share(
        _ values: UnsafeMutablePointer<Float>, _ segments: [Segment], phase: String
    ) throws(CollectiveError) {
        guard functions.share(phase, values, segments.map(\.mpi), Int64(segments.count)) == 0 else { throw failure }
    }

    package func collect(
        _ values: UnsafePointer<Float>, into target: UnsafeMutablePointer<Float>?, _ segments: [Segment], phase: String
    ) throws(CollectiveError) {
        guard functions.collect(phase, values, target, segments.map(\.mpi), Int64(segments.count)) == 0 else {
            throw failure
        }
    }

    package var usage: WireUsage {
        var (bytes, seconds) = (UInt64(0), 0.0)
        functions.usage(&bytes, &seconds)
        return WireUsage(bytesSent: Int(bytes), seconds: seconds)
    }

    package func abort(_ code: Int32) { functions.abort(code) }

    package func finish() throws(CollectiveError) { if functions.finish() != 0 { throw failure } }
}

extension Segment {
    fileprivate var mpi: craft_mpi_segment {
        craft_mpi_segment(offset: Int64(offset), count: Int64(count), owner: Int64(owner))
    }
}
