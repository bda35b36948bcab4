FROM scratch
COPY --exclude=*.txt --exclude=lib app /app/
