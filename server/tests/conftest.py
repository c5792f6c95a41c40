from tests.conftest import llm, llm_server

__all__ = ["llm", "llm_server"]
