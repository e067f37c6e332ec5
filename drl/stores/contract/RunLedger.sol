// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title RunLedger: an append-only account of the runs of training pipelines.
/// @notice A writer opens a run before training, with the digest of what it intends, and closes it with the
/// digest of what came out. Nothing can be changed or removed, so attempts cannot be hidden: a run that was
/// opened and never closed stays visible, and so does one that was closed with a bad verdict.
/// @dev No owner, no upgrade, no payment. Every entry is keyed by its writer (`msg.sender`), so nobody can
/// take another's number or digest. Digests are SHA-256 of exact stored bytes; names never go on the chain.
/// Storage holds only what is needed to refuse duplicates and to find an entry's event again.
contract RunLedger {
    struct Opening {
        uint64 run;
        uint64 blockNumber;
    }

    struct Closing {
        uint64 blockNumber;
        uint8 verdict;
    }

    /// @notice A run was opened.
    /// @param writer who opened it.
    /// @param pipeline identifier of the writer's pipeline.
    /// @param run number of the run: 1, 2, 3, … for each writer and pipeline.
    /// @param intent digest of the signed intent.
    /// @param testData identifier of the held-out data that the run will look at, or zero for none.
    /// @param look how many openings of this writer, this one included, have named `testData`; zero for none.
    event Opened(
        address indexed writer,
        bytes32 indexed pipeline,
        uint64 indexed run,
        bytes32 intent,
        bytes32 testData,
        uint64 look
    );

    /// @notice A run was closed.
    /// @param record digest of the signed release statement, which names every other statement of the run.
    /// @param verdict 1 PROMOTE, 2 HOLD, 3 REJECT.
    event Closed(
        address indexed writer, bytes32 indexed pipeline, uint64 indexed run, bytes32 record, uint8 verdict
    );

    /// @notice A later statement about a run: promotion, rollback, revocation, reproduction, revision.
    event Noted(address indexed writer, bytes32 indexed pipeline, uint64 indexed run, bytes32 statement);

    /// @notice This writer opened a run with this intent before.
    error AlreadyOpened(uint64 run, uint64 blockNumber);
    /// @notice The run was closed before.
    error AlreadyClosed(uint64 blockNumber);
    /// @notice The run carries this note already.
    error AlreadyNoted(uint64 blockNumber);
    /// @notice The writer has opened no such run of this pipeline.
    error UnknownRun(bytes32 pipeline, uint64 run);
    /// @notice A digest is zero, which stands for "none".
    error ZeroDigest();
    /// @notice The verdict is none of 1, 2, 3.
    error UnknownVerdict(uint8 verdict);
    /// @notice The arrays differ in length.
    error LengthMismatch();

    mapping(address writer => mapping(bytes32 pipeline => uint64)) private _runs;
    mapping(address writer => mapping(bytes32 testData => uint64)) private _looks;
    mapping(address writer => mapping(bytes32 intent => Opening)) private _openings;
    mapping(address writer => mapping(bytes32 pipeline => mapping(uint64 run => Closing))) private _closings;
    mapping(address writer => mapping(bytes32 pipeline => mapping(uint64 run => mapping(bytes32 statement => uint64))))
        private _notes;

    /// @notice Open the next run of the sender's pipeline, before training.
    /// @return run its number, starting at 1.
    function open(bytes32 pipeline, bytes32 intent, bytes32 testData) external returns (uint64 run) {
        return _open(pipeline, intent, testData);
    }

    /// @notice Open many runs at once; all or none.
    function openMany(bytes32[] calldata pipelines, bytes32[] calldata intents, bytes32[] calldata testData)
        external
        returns (uint64[] memory runs_)
    {
        if (intents.length != pipelines.length || testData.length != pipelines.length) revert LengthMismatch();
        runs_ = new uint64[](pipelines.length);
        for (uint256 i = 0; i < pipelines.length; ++i) {
            runs_[i] = _open(pipelines[i], intents[i], testData[i]);
        }
    }

    /// @notice Close one of the sender's runs, once.
    function close(bytes32 pipeline, uint64 run, bytes32 record, uint8 verdict) external {
        _close(pipeline, run, record, verdict);
    }

    /// @notice Close many runs at once; all or none.
    function closeMany(
        bytes32[] calldata pipelines,
        uint64[] calldata runs_,
        bytes32[] calldata records,
        uint8[] calldata verdicts
    ) external {
        if (
            runs_.length != pipelines.length || records.length != pipelines.length
                || verdicts.length != pipelines.length
        ) revert LengthMismatch();
        for (uint256 i = 0; i < pipelines.length; ++i) {
            _close(pipelines[i], runs_[i], records[i], verdicts[i]);
        }
    }

    /// @notice Add a statement to one of the sender's runs, open or closed; the same one only once.
    function note(bytes32 pipeline, uint64 run, bytes32 statement) external {
        _note(pipeline, run, statement);
    }

    /// @notice Add many statements at once; all or none.
    function noteMany(bytes32[] calldata pipelines, uint64[] calldata runs_, bytes32[] calldata statements)
        external
    {
        if (runs_.length != pipelines.length || statements.length != pipelines.length) revert LengthMismatch();
        for (uint256 i = 0; i < pipelines.length; ++i) {
            _note(pipelines[i], runs_[i], statements[i]);
        }
    }

    /// @notice How many runs of a pipeline the writer has opened; also the number of the newest.
    function runs(address writer, bytes32 pipeline) external view returns (uint64) {
        return _runs[writer][pipeline];
    }

    /// @notice How many openings of the writer, in all pipelines, have named this held-out data.
    function looks(address writer, bytes32 testData) external view returns (uint64) {
        return _looks[writer][testData];
    }

    /// @notice The run opened with an intent, and the block that holds its event; zeros if there is none.
    function opening(address writer, bytes32 intent) external view returns (uint64 run, uint64 blockNumber) {
        Opening storage entry = _openings[writer][intent];
        return (entry.run, entry.blockNumber);
    }

    /// @notice The verdict of a run, and the block that holds its event; zeros while it is not closed.
    function closing(address writer, bytes32 pipeline, uint64 run)
        external
        view
        returns (uint8 verdict, uint64 blockNumber)
    {
        Closing storage entry = _closings[writer][pipeline][run];
        return (entry.verdict, entry.blockNumber);
    }

    /// @notice The block that holds a note's event; zero if there is none.
    function noted(address writer, bytes32 pipeline, uint64 run, bytes32 statement)
        external
        view
        returns (uint64 blockNumber)
    {
        return _notes[writer][pipeline][run][statement];
    }

    function _open(bytes32 pipeline, bytes32 intent, bytes32 testData) private returns (uint64 run) {
        if (intent == 0) revert ZeroDigest();
        Opening storage entry = _openings[msg.sender][intent];
        if (entry.run != 0) revert AlreadyOpened(entry.run, entry.blockNumber);
        run = ++_runs[msg.sender][pipeline];
        entry.run = run;
        entry.blockNumber = uint64(block.number);
        uint64 look = testData == 0 ? 0 : ++_looks[msg.sender][testData];
        emit Opened(msg.sender, pipeline, run, intent, testData, look);
    }

    function _close(bytes32 pipeline, uint64 run, bytes32 record, uint8 verdict) private {
        if (record == 0) revert ZeroDigest();
        if (verdict == 0 || verdict > 3) revert UnknownVerdict(verdict);
        _requireRun(pipeline, run);
        Closing storage entry = _closings[msg.sender][pipeline][run];
        if (entry.verdict != 0) revert AlreadyClosed(entry.blockNumber);
        entry.blockNumber = uint64(block.number);
        entry.verdict = verdict;
        emit Closed(msg.sender, pipeline, run, record, verdict);
    }

    function _note(bytes32 pipeline, uint64 run, bytes32 statement) private {
        if (statement == 0) revert ZeroDigest();
        _requireRun(pipeline, run);
        uint64 before = _notes[msg.sender][pipeline][run][statement];
        if (before != 0) revert AlreadyNoted(before);
        _notes[msg.sender][pipeline][run][statement] = uint64(block.number);
        emit Noted(msg.sender, pipeline, run, statement);
    }

    function _requireRun(bytes32 pipeline, uint64 run) private view {
        if (run == 0 || run > _runs[msg.sender][pipeline]) revert UnknownRun(pipeline, run);
    }
}
