import pytest

from compressor.tensorrt.messages import Messages, advice, one_line

DRIVER = (
    "[checkMacros.cpp::catchCudaError::250] Error Code 1: Cuda Runtime (In catchCudaError at "
    "/_src/common/dispatch/checkMacros.cpp:250 (cudaError 35: CUDA driver version is insufficient "
    "for CUDA runtime version))"
)


def test_a_message_loses_its_place_in_the_sources_and_its_code():
    said = (
        "IBuilder::buildSerializedNetwork: Error Code 4: API Usage Error (Network has dynamic or "
        "shape inputs, but no optimization profile has been defined. In validate at "
        "/_src/optimizer/api/network.cpp:4023)"
    )
    assert one_line(said) == (
        "Network has dynamic or shape inputs, but no optimization profile has been defined"
    )


def test_lines_become_one_and_a_missing_driver_is_not_the_reason():
    assert one_line(f"Invalid Node - conv\nthe kernel is odd\n{DRIVER}\n{DRIVER}") == (
        "Invalid Node - conv; the kernel is odd"
    )


def test_a_missing_driver_is_said_if_it_is_all_that_is_said():
    assert "CUDA driver version is insufficient" in one_line(DRIVER)
    assert "needs a GPU" in advice(DRIVER)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("but no optimization profile has been defined", "set batch"),
        ("OutOfMemory (Requested size was 1048576 bytes.)", "Raise workspace_bytes"),
        ("input has type Int32 but must have type FP8", "bias is quantised"),
        ("Non-zero zero point is not supported.", "symmetric int8"),
        ("the model contains HW-specific data types", "fp8 needs"),
        ("Cannot compile operation 'x' for Turing (SM75)", "SM75"),
        ("something that nobody has seen", "another release"),
    ],
)
def test_known_messages_have_advice(said, told):
    assert told in advice(said)


def test_messages_are_sorted_and_chatter_is_dropped():
    messages = Messages()
    sparse = "(Sparsity) Chose 1 layer(s) using sparse tactics"
    for severity, text in (
        ("INTERNAL_ERROR", "broken"),
        ("ERROR", "wrong"),
        ("WARNING", "careful"),
        ("INFO", sparse),
        ("VERBOSE", "chatter"),
    ):
        messages.keep(severity, text)
    assert messages == Messages(["careful"], ["broken", "wrong"], [sparse])
