FROM scratch
COPY app /app
COPY services/api/ /api/
